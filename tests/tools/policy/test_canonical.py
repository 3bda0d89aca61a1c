"""One form of a call's arguments, by which denials, repetitions, rules and approvals know it again."""

from pathlib import Path

import pytest

from base.settings import load_settings
from ledger.records import fingerprint
from tools.registry import Registry, open_registry

MAIL = {"subject": "s", "body": "b"}
EVENT = {"summary": "dentist", "location": "", "notes": ""}
POST = {"method": "POST", "body": ""}
ALIKE = [
    ("delete_file", {"path": "notes.txt"}, {"path": "./notes.txt"}),
    ("delete_file", {"path": "notes.txt"}, {"path": "a/../notes.txt"}),
    ("delete_file", {"path": "notes.txt"}, {"path": "notes.txt/"}),
    ("delete_file", {"path": "notes.txt"}, {"path": ".//notes.txt"}),
    ("delete_file", {"path": "notes.txt"}, {"path": "{root}/notes.txt"}),
    ("delete_file", {"path": "notes.txt"}, {"path": "{link}/notes.txt"}),
    ("delete_file", {"path": "caf\u00e9.txt"}, {"path": "cafe\u0301.txt"}),
    ("list_files", {}, {"path": "."}),
    ("list_files", {}, {"path": ""}),
    ("http_request", {**POST, "url": "http://ha.local/a"}, {**POST, "url": "http://HA.Local/a"}),
    ("http_request", {**POST, "url": "http://ha.local/a"}, {**POST, "url": " http://ha.local:80/a#top"}),
    ("http_request", {**POST, "url": "http://ha.local/a"}, {**POST, "url": "http://ha.local./%61"}),
    ("http_request", {**POST, "url": "http://ha.local/%C3%A9"}, {**POST, "url": "http://ha.local/%c3%a9"}),
    ("http_request", {**POST, "url": "http://b\u00fccher.de"}, {**POST, "url": "http://xn--bcher-kva.de/"}),
    (
        "http_request",
        {"method": "POST", "url": "http://ha.local/", "body": '{"a": 1, "b": 2}'},
        {"method": "POST", "url": "http://ha.local/", "body": '{"b":2.0,"a":1}'},
    ),
    ("web_fetch", {"url": "https://example.com"}, {"url": "HTTPS://EXAMPLE.com:443/", "links": False}),
    ("send_email", {**MAIL, "to": "ada@example.com"}, {**MAIL, "to": "ada@EXAMPLE.com"}),
    ("send_email", {**MAIL, "to": "ada@example.com"}, {**MAIL, "to": "Ada@example.com."}),
    ("send_email", {**MAIL, "to": "ada@example.com"}, {**MAIL, "to": "Ada <ada@example.com>"}),
    ("send_email", {**MAIL, "to": "ada@xn--strae-oqa.de"}, {**MAIL, "to": "Ada <ada@STRA\u00dfE\u3002de.>"}),
    ("send_email", {**MAIL, "to": "b\u00f6b@b.c"}, {**MAIL, "to": "BO\u0308B@b.c"}),
    ("send_email", {**MAIL, "to": "ada@\U0001f648.de"}, {**MAIL, "to": "Ada@\U0001f648.de"}),
    ("send_email", {**MAIL, "to": "a@b.c, d@e.f"}, {**MAIL, "to": "d@e.f;a@b.c;;d@e.f"}),
    (
        "add_event",
        {**EVENT, "start": "2026-11-20T15:00", "end": "2026-11-20T16:00"},
        {**EVENT, "start": "2026-11-20T14:00Z", "end": "2026-11-20T17:00+02:00"},
    ),
    (
        "add_event",
        {**EVENT, "start": "2026-11-20T15:00"},
        {"summary": "dentist", "start": "2026-11-20 14:00Z"},
    ),
    ("add_event", {**EVENT, "start": "2026-11-20"}, {**EVENT, "start": "2026-11-20", "end": "2026-11-20"}),
    ("forget", {"id": "abcd1234"}, {"id": " [abcd1234]"}),
    ("nobody_has_this", {"a": 1, "b": {"c": [2]}}, {"b": {"c": [2.0]}, "a": 1.0}),
]
DIFFERENT = [
    ("delete_file", {"path": "notes.txt"}, {"path": "Notes.txt"}),
    ("delete_file", {"path": "notes.txt"}, {"path": "notes.txt "}),
    ("delete_file", {"path": "notes.txt"}, {"path": "../notes.txt"}),
    ("http_request", {**POST, "url": "http://ha.local/a"}, {**POST, "url": "https://ha.local/a"}),
    ("http_request", {**POST, "url": "http://ha.local/a"}, {**POST, "url": "http://ha.local/a/"}),
    ("http_request", {**POST, "url": "http://ha.local/a/b"}, {**POST, "url": "http://ha.local/a%2Fb"}),
    ("http_request", {**POST, "url": "http://ha.local/a"}, {**POST, "url": "http://ha.local:8123/a"}),
    ("http_request", {**POST, "url": "http://ha.local:8124/a"}, {**POST, "url": "http://ha.local:8123/a"}),
    ("http_request", {**POST, "url": "http://ha.local/a"}, {**POST, "url": "http://x@ha.local/a"}),
    ("send_email", {**MAIL, "to": "ada@example.com"}, {**MAIL, "to": "ada@example.com, eve@example.com"}),
    ("send_email", {**MAIL, "to": "ada@strasse.de"}, {**MAIL, "to": "ada@stra\u00dfe.de"}),
    ("add_event", {**EVENT, "start": "2026-11-20T15:00"}, {**EVENT, "start": "2026-11-20T15:00Z"}),
    ("add_event", {**EVENT, "start": "2026-11-20"}, {**EVENT, "start": "2026-11-20T00:00"}),
    ("nobody_has_this", {"a": 1}, {"a": True}),
    ("nobody_has_this", {"a": 1}, {"a": "1"}),
]


@pytest.fixture
def tools(tmp_path: Path) -> Registry:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    source = tmp_path / "twobrain.toml"
    source.write_text(
        '[tools.calendar]\nurl = "http://127.0.0.1:1/"\ntimezone = "Europe/Paris"\n'
        '[tools.http_request]\nallow_hosts = ["ha.local"]\n[tools.run_command]\nenabled = true\n'
    )
    environ = {"TWOBRAIN_DATA_DIR": str(tmp_path / "data"), "TWOBRAIN_WORKSPACE": str(tmp_path / "link")}
    return open_registry(load_settings({**environ, "TWOBRAIN_CONFIG": str(source)}))


def placed(args: dict, tmp_path: Path) -> dict:
    """Return arguments with the workspace's own path, and that of where it really is, filled in."""
    path = args.get("path", "").replace("{root}", str(tmp_path / "link"))
    return {**args, "path": path.replace("{link}", str(tmp_path / "real"))} if "path" in args else args


@pytest.mark.parametrize(("name", "one", "other"), ALIKE)
def test_calls_that_mean_the_same_have_one_fingerprint(tools, tmp_path, name, one, other):
    assert tools.fingerprint(name, placed(one, tmp_path)) == tools.fingerprint(name, placed(other, tmp_path))


@pytest.mark.parametrize(("name", "one", "other"), DIFFERENT)
def test_calls_that_mean_something_else_have_another(tools, name, one, other):
    assert tools.fingerprint(name, one) != tools.fingerprint(name, other)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("delete_file", {"path": "a\0b"}),
        ("delete_file", {"path": 5, "more": True}),
        ("web_fetch", {"url": "http://[::1"}),
        ("web_fetch", {"url": "\ud800"}),
        ("http_request", {**POST, "url": "http://ha.local:99999999/"}),
        ("add_event", {**EVENT, "start": "whenever"}),
        ("add_event", {**EVENT, "start": "9999-12-31T23:59-12:00"}),
        ("send_email", {**MAIL, "to": ""}),
        ("nobody_has_this", {"a": float("inf")}),
    ],
)
def test_what_has_no_such_form_is_known_by_its_arguments_as_they_are(tools, name, args):
    assert tools.fingerprint(name, args) == tools.fingerprint(name, dict(reversed(args.items())))


def test_where_the_file_system_folds_case_it_does_not_count(tools, monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "samefile", lambda *_: True)
    folding = open_registry(load_settings({"TWOBRAIN_DATA_DIR": str(tmp_path / "data")}))
    one, other = ({"path": path} for path in ("Notes.txt", "notes.TXT"))
    assert folding.fingerprint("delete_file", one) == folding.fingerprint("delete_file", other)
    assert tools.fingerprint("delete_file", one) != tools.fingerprint("delete_file", other)


def test_a_tools_name_and_arguments_are_the_whole_of_it():
    assert fingerprint("a", {}) != fingerprint("b", {})
