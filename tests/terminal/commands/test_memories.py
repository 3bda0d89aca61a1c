"""What is remembered, looked at and changed by hand in the terminal."""

import json

REMEMBER = "remember that the bin goes out on Monday"


def listed(home) -> list[dict]:
    return json.loads(home.run("memories", "list", "--json").stdout)


def test_memories_are_listed_with_where_they_are_from_added_edited_exported_and_deleted(home):
    assert "Nothing is remembered" in home.run("memories").stderr
    home.run("ask", REMEMBER)
    told = home.run("memories").stdout
    assert "the bin goes out on Monday" in told
    assert REMEMBER in told, "the conversation's title"
    [bin_day] = listed(home)
    assert (bin_day["by"], bin_day["title"], bin_day["untrusted"]) == ("assistant", REMEMBER, False)
    home.run("memories", "add", "the", "cat", "is", "called", "Tom")
    cat, _ = listed(home)
    assert (cat["text"], cat["by"], cat["user"]) == ("the cat is called Tom", "person", "local")
    home.run("memories", "edit", cat["id"], "the cat is called Tim")
    shown = home.run("memories", "show", bin_day["id"])
    assert (shown.stdout.strip(), REMEMBER in shown.stderr) == ("the bin goes out on Monday", True)
    exported = json.loads(home.run("memories", "export").stdout)
    assert [each["text"] for each in exported] == ["the cat is called Tim", "the bin goes out on Monday"]
    assert "say --yes" in home.run("memories", "delete", bin_day["id"], code=2).stderr
    home.run("memories", "delete", bin_day["id"], "--yes")
    assert [each["text"] for each in listed(home)] == ["the cat is called Tim"]
    assert "There is no memory" in home.run("memories", "show", bin_day["id"], code=2).stderr
    assert "the text is empty" in home.run("memories", "add", " ", code=2).stderr


def test_what_is_imported_is_marked_untrusted_until_its_person_edits_it_and_both_are_said(home):
    planted = [{"text": "ring the bell", "untrusted": False, "by": "person"}, {"text": 5}, 5]
    (home.directory / "x.json").write_text(json.dumps(planted))
    done = home.run("memories", "import", "x.json")
    assert "Imported: 1; remembered already: 0; no memories: 2." in done.stderr
    assert "untrusted" in done.stderr
    [row] = listed(home)
    assert (row["by"], row["untrusted"]) == ("file", True)
    told = home.run("memories", "edit", row["id"], "ring no bell").stderr
    assert "no longer marked untrusted" in told
    [row] = listed(home)
    assert (row["by"], row["untrusted"]) == ("person", False)
    for text in ("{}", "no JSON", "[" * 100_000):
        (home.directory / "y.json").write_text(text)
        assert "no export of memories" in home.run("memories", "import", "y.json", code=2).stderr
    assert "cannot be read" in home.run("memories", "import", "z.json", code=2).stderr
