"""`twobrain users`: a token is shown once, and only its hash is kept."""

import json
import re
import stat
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from base.users import AddedUser, UsersFile, digest_of

WRITTEN = """# By hand, with comments.
[users.alice]
role = "admin"          # she owns the place

[users.bob]
role = "user"
token_sha256 = "{digest}"
"""


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "twobrain.toml"
    path.write_text(WRITTEN.format(digest=digest_of(b"bobs")))
    return path


@pytest.fixture
def users(tmp_path, monkeypatch, capsys):
    """Run the command in a folder of its own; return its exit code and what it printed."""
    monkeypatch.setenv("TWOBRAIN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("TWOBRAIN_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        import cli

        monkeypatch.setattr(sys, "argv", ["twobrain", "users", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def listed(users) -> dict[str, tuple]:
    rows = json.loads(users("list", "--json")[1])
    return {row["name"]: (row["role"], row["has_token"], row["defined_in"]) for row in rows}


def test_a_token_is_shown_once_and_its_hash_alone_is_kept(users, tmp_path):
    code, out, err = users("add", "carol", "--role", "guest")
    assert code == 0
    token = out.strip()
    assert re.fullmatch(r"tb_[\w-]{43}", token)
    assert "shown this once" in err
    assert "lets nobody in without a token" in err
    for path in (tmp_path / "data").iterdir():
        assert token not in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads((tmp_path / "data/users.json").read_text())["carol"]["token_sha256"] == digest_of(
        token.encode()
    )
    assert token not in "".join(users("list")[1:])
    assert listed(users) == {"carol": ("guest", True, ["twobrain users"])}


def test_a_file_written_by_hand_stays_as_it_is_and_a_token_of_either_place_is_taken_back(users, written):
    before = written.read_bytes()
    assert users("add", "alice")[0] == 0
    both = ["twobrain.toml", "twobrain users"]
    assert listed(users) == {"alice": ("admin", True, both), "bob": ("user", True, ["twobrain.toml"])}
    for name in ("alice", "bob"):
        assert users("revoke", name)[0] == 0
    assert listed(users) == {"alice": ("admin", False, both), "bob": ("user", False, both)}
    assert users("add", "bob")[0] == 0
    assert listed(users)["bob"] == ("user", True, both)
    assert written.read_bytes() == before


def test_when_the_last_token_is_taken_back_it_is_said_that_nobody_is_let_in(users):
    users("add", "carol")
    _, _, err = users("revoke", "carol")
    assert "Nobody has a token now, and a server lets nobody in." in err
    _, _, err = users("add", "carol")
    assert "without a token" not in err  # nobody was let in before either


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add", "../carol"), "Nobody can be called"),
        (("add", ""), "Nobody can be called"),
        (("add", "@carol"), "Nobody can be called"),
        (("add", "c" * 65), "Nobody can be called"),
        (("add", "ca rol"), "Nobody can be called"),
        (("add", "carol\u200b"), "Nobody can be called"),
        (("add", "e\u0301ve"), "Nobody can be called"),
        (("add", "\uff41lice"), "Nobody can be called"),
        (("add", "ALICE"), "There is 'alice' already"),
        (("add", "bob"), "has a token already"),
        (("add", "alice", "--role", "guest"), "twobrain.toml says that 'alice' is 'admin'"),
        (("add", "anonymous"), "choose another name"),
        (("revoke", "alice"), "has no token"),
        (("revoke", "nobody"), "has no token"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(words, told, users, written, tmp_path):
    code, out, err = users(*words)
    assert (code, out) == (2, "")
    assert told in " ".join(err.split())
    assert listed(users) == {
        "alice": ("admin", False, ["twobrain.toml"]),
        "bob": ("user", True, ["twobrain.toml"]),
    }


@pytest.mark.parametrize("name", ["ann@example.com", "Zoë", "local", "9lives", "a.b_c-d"])
def test_what_people_are_called_is_taken(name, users):
    assert users("add", name)[0] == 0
    assert listed(users) == {name: ("user", True, ["twobrain users"])}


def test_a_damaged_file_is_told_and_not_written_over(users, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/users.json").write_text('{"alice": {"role": "boss", "token_sha256": null}}')
    for words in (("add", "carol"), ("list",), ("revoke", "alice")):
        code, out, err = users(*words)
        assert (code, out) == (2, "")
        assert "not as `twobrain users` writes it" in " ".join(err.split())
    assert "boss" in (tmp_path / "data/users.json").read_text()


def test_of_two_who_add_at_once_neither_is_lost(tmp_path):
    """Each opens the file anew, as another process does."""

    def add(name: str) -> None:
        for number in range(10):
            new = {f"{name}{number}": AddedUser(role="user", token_sha256=None)}
            UsersFile(tmp_path / "data").change(lambda users, new=new: users.update(new))

    with ThreadPoolExecutor() as pool:
        list(pool.map(add, "abcd"))
    assert len(json.loads((tmp_path / "data/users.json").read_text())) == 40
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"users.json", "users.lock"}
