"""`twobrain skills`: listed, shown, trusted and removed."""

GOOD = "---\nname: tea\ndescription: Make tea.\n---\nBoil \x1b[2Jwater.\n"


def put(home, name: str, text: str = GOOD) -> None:
    folder = home.data / "skills" / name
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(text)


def test_skills_are_listed_shown_and_removed_and_what_is_none_is_said(home):
    assert home.json("skills", "list") == []
    put(home, "tea")
    put(home, "odd", "nothing")
    tea, odd = home.json("skills", "list")
    assert (tea["name"], tea["description"], tea["whose"], tea["untrusted"]) == (
        "tea",
        "Make tea.",
        "local",
        False,
    )
    assert (odd["name"], "does not begin with YAML" in odd["why_not"]) == ("odd", True)
    assert "Make tea." in home.run("skills", "list").stdout
    shown = home.run("skills", "show", "tea").stdout
    assert "\x1b" not in shown
    assert "Boil" in shown
    assert home.json("skills", "show", "tea")["text"] == GOOD
    assert "left out" in home.run("skills", "show", "odd", code=2).stderr
    told = home.run("doctor", code=0).stdout
    assert "tea" in told
    assert "does not begin with YAML" in " ".join(told.split())
    home.run("skills", "remove", "tea", code=2)
    home.run("skills", "remove", "tea", "--yes")
    assert not (home.data / "skills" / "tea").exists()


def test_a_marked_skill_is_told_and_trusted_once_it_was_read(home):
    put(home, "tea", GOOD.replace("\n---\nBoil", '\nmetadata:\n  twobrain-untrusted: "true"\n---\nBoil'))
    assert home.json("skills", "list")[0]["untrusted"] is True
    assert "twobrain skills trust tea" in home.run("skills", "show", "tea").stderr
    home.run("skills", "trust", "tea")
    assert home.json("skills", "list")[0]["untrusted"] is False
    assert home.json("skills", "show", "tea")["text"] == GOOD


def test_no_always_is_offered_for_a_proposal(home, terminal):
    body = '{"name": "tea", "description": "Make tea.", "body": "Boil water."}'
    screen = terminal("ask", f"use propose_skill {body}")
    told = screen.sees("reject >")
    assert "always" not in told
    screen.sendline("always")
    screen.sees("Please type")
    screen.sendline("y")
    screen.sees("Kept the skill tea.")
    screen.ends(0)
    assert home.json("skills", "list")[0]["name"] == "tea"
