import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from base.errors import ConfigurationError
from graphs.session import open_orchestrator
from tests.models.schemas import MAKERS, followed
from tests.tools.loopback import moved, open_site
from tests.tools.mcp.household import (
    BASE,
    PATIENCE_S,
    SERVER,
    WORDS,
    Household,
    definition,
    left_running,
    lines,
    over_http,
    running,
)
from tests.tools.processes import LINGERING, is_left_by
from tests.wires.brain import Call, Heard, Reply
from tools.clock import get_time
from tools.declaration import ArgumentsError, Here, Tool
from tools.mcp.config import ServerCard
from tools.mcp.connection import Connection
from tools.mcp.servers import Servers
from tools.policy.decision import Allow, Confirm, Person, decide
from tools.run import run_tool


@pytest.fixture
def household(tmp_path: Path) -> Household:
    return Household(tmp_path)


@pytest.fixture(params=["pipes", "http"])
def reached(request, household: Household) -> Iterator[Household]:
    """Return a household whose server `notes` is reached over each transport in turn."""
    tools = [
        definition("add", WORDS),
        definition("fail"),
        definition("gallery"),
        definition("nothing"),
        definition("die"),
        definition("flood", {"properties": {"size": {"type": "integer"}}}),
    ]
    if request.param == "pipes":
        household.add("notes", *tools)
        yield household
    else:
        home = household.folder / "notes"
        home.mkdir()
        with over_http(home) as port:
            household.add("notes", *tools, url=f"http://127.0.0.1:{port}/mcp/")
            yield household


async def test_a_servers_tools_are_listed_and_called(reached):
    async with reached.open() as house:
        tools = await house.tools()
        assert set(tools) == {f"notes_{n}" for n in ("add", "fail", "gallery", "nothing", "die", "flood")}
        add = tools["notes_add"]
        assert (add.description, add.parameters) == ("Do add.", WORDS)
        assert (add.role, add.effect, add.confirm, add.untrusted, add.idempotent) == (
            "user",
            "write",
            True,
            True,
            False,
        )
        outcome = await house.call("notes_add", text="milk")
        assert (outcome.status, outcome.text) == ("executed", 'add: {"text": "milk"}')
    assert lines(reached.folder / "notes" / "called") == ['add {"text": "milk"}']


@pytest.mark.slow
async def test_what_is_no_text_is_named_and_an_empty_answer_is_said_to_be_one(reached):
    async with reached.open() as house:
        assert (await house.call("notes_gallery")).text.splitlines() == [
            "Here:",
            "[image, image/png, 9 bytes, not shown]",
            "[audio, audio/wav, 9 bytes, not shown]",
            "[resource notes://1, text/plain]",
            "milk",
            "[resource notes://2, image/png, 9 bytes, not shown]",
            "[resource list: notes://3]",
        ]
        assert (await house.call("notes_nothing")).text == "(no output)"


@pytest.mark.slow
async def test_a_tools_own_error_is_a_failure_in_its_words(reached):
    async with reached.open() as house:
        outcome = await house.call("notes_fail")
    assert (outcome.status, outcome.text) == ("failed", "Tool error: the shelf is empty")


@pytest.mark.slow
async def test_arguments_are_held_to_the_servers_schema_before_anything_is_sent(reached):
    async with reached.open() as house:
        with pytest.raises(ArgumentsError, match="'text': 3 is not of type \"string\""):
            await house.call("notes_add", text=3)
    assert lines(reached.folder / "notes" / "called") == []


@pytest.mark.slow
async def test_a_server_that_dies_during_a_call_costs_that_call_and_is_started_anew(household):
    home = household.add("notes", definition("add"), definition("die"))
    async with household.open() as house:
        outcome = await house.call("notes_die")
        assert outcome.status == "unknown"
        assert "broke off during the call. It may have taken effect all the same" in outcome.text
        assert (await house.call("notes_add")).text == "add: {}"
    assert len(lines(home / "pids")) == 2
    assert [line.split()[0] for line in lines(home / "called")] == ["die", "add"]


@pytest.mark.slow
async def test_a_web_server_that_dies_during_a_call_costs_that_call_and_is_found_again(household):
    home = household.folder / "notes"
    home.mkdir()
    with over_http(home) as port:
        household.add("notes", definition("add"), definition("die"), url=f"http://127.0.0.1:{port}/mcp/")
        async with household.open() as house:
            assert "broke off during the call" in (await house.call("notes_die")).text
            assert "cannot be used now: " in (await house.call("notes_add")).text
            with over_http(home, port):
                assert (await house.call("notes_add")).text == "add: {}"
    assert [line.split()[0] for line in lines(home / "called")] == ["die", "add"]


async def test_a_call_to_a_program_that_died_meanwhile_starts_it_anew_and_runs_once(household):
    home = household.add("notes", definition("add", WORDS))
    async with household.open() as house:
        await house.call("notes_add", text="a")
        os.kill(running(home)[0], signal.SIGKILL)
        outcome = await house.call("notes_add", text="b")
        if outcome.status == "unknown":  # it was sent before the death was noticed
            assert "broke off" in outcome.text
            await house.call("notes_add", text="b")
    assert lines(home / "called") == ['add {"text": "a"}', 'add {"text": "b"}']


@pytest.mark.slow
async def test_a_call_to_a_web_server_that_was_started_anew_meanwhile_runs_once(household):
    home = household.folder / "notes"
    home.mkdir()
    async with AsyncExitStack() as stack:
        with over_http(home) as port:
            household.add("notes", definition("add", WORDS), url=f"http://127.0.0.1:{port}/mcp/")
            house = await stack.enter_async_context(household.open())
            await house.call("notes_add", text="a")
        with over_http(home, port):
            outcome = await house.call("notes_add", text="b")
    assert outcome.status == "executed"
    assert lines(home / "called") == ['add {"text": "a"}', 'add {"text": "b"}']


@pytest.mark.slow
async def test_a_call_that_takes_too_long_is_given_up_and_the_session_stays_of_use(household):
    home = household.add("notes", definition("hang"), definition("add"), timeout_s=0.2)
    async with household.open() as house:
        assert "took longer than 0.2 s" in (await house.call("notes_hang")).text
        assert (await house.call("notes_add")).text == "add: {}"
    assert len(lines(home / "pids")) == 1


@pytest.mark.slow
async def test_an_endless_result_is_cut(household):
    household.add("notes", definition("flood"))
    async with household.open() as house:
        text = (await house.call("notes_flood", size=300_000)).text
        assert text.endswith("x\n… (cut; the whole has 300,000 characters)")
        assert "broke off" in (await house.call("notes_flood", size=11_000_000)).text
        assert (await house.call("notes_flood", size=1)).text == "x"


SLEEPER = {"command": "sleep", "args": ["600"]}


@pytest.mark.parametrize(
    ("card", "why"),
    [
        (SLEEPER, "it did not answer within 0.5 s"),
        ({"command": "cat", "args": ["/dev/zero"], "connect_timeout_s": 20},
         "(what it says at once is more than 5,000,000 bytes, or 40,000 values)"),
        ({"command": "no-such-program"}, "'no-such-program' is not there"),
        ({"command": "sh", "args": ["-c", "echo oh dear $PASSWORD >&2; exit 3"], "env_from": ["PASSWORD"]},
         "(oh dear [redacted])"),
        ({**SLEEPER, "env_from": ["NOTES_TOKEN"]}, "NOTES_TOKEN is not set"),
        ({**SLEEPER, "cwd": "/nowhere"}, "'/nowhere' is not there"),
        ({"url": "http://127.0.0.1:9/mcp"}, "onnect"),
        ({"url": "http://127.0.0.1:9/mcp", "headers_env": {"Authorization": "NOTES_TOKEN"}},
         "NOTES_TOKEN is not set"),
    ],
)  # fmt: skip
async def test_a_server_that_cannot_be_used_costs_its_own_tools_and_says_why(household, card, why):
    household.add("good", definition("add"))
    household.add("bad", **{"connect_timeout_s": 0.5 if "0.5 s" in why else PATIENCE_S, **card})
    async with household.open(PASSWORD="hunter2-and-more") as house:
        tools = await house.tools()
        assert set(tools) == {"good_add", "mcp:bad"}
        reason = await house.missing("mcp:bad")
        assert reason.startswith("it cannot be used: ")
        assert why in reason
        registry = await house.servers.join(BASE, "ada")
        assert [t.name for t in registry.offered("admin", None, house.settings)] == ["get_time", "good_add"]


async def test_a_web_server_that_sends_us_elsewhere_is_not_followed(household):
    async with open_site() as inside, open_site() as outside:
        outside.pages["/mcp"] = moved(inside.url("/mcp"), "307 Temporary Redirect")
        household.add("bad", url=outside.url("/mcp"))
        async with household.open() as house:
            assert (await house.missing("mcp:bad")).startswith("it cannot be used: ")
        assert (len(outside.seen) > 0, inside.seen) == (True, [])


@pytest.mark.parametrize("habit", ["never_list", "stubborn"])
async def test_a_server_that_is_slow_is_ended_with_all_its_children(household, habit):
    home = household.add("slow", definition("add"), connect_timeout_s=1.5)
    (home / habit).touch()
    (home / "child").touch()
    async with household.open() as house:
        assert "did not answer within 1.5 s" in await house.missing("mcp:slow")
        assert len(lines(home / "pids")) == 2
        assert left_running(home) == []


@pytest.mark.parametrize("moments", range(4))
async def test_a_server_that_is_given_up_while_it_starts_leaves_nothing_running(household, moments):
    card = ServerCard(command="/bin/sh", args=("-c", LINGERING), cwd=str(household.folder))
    listing = Connection("slow", card, household.settings()).listed()
    assert not await is_left_by(listing, household.folder, moments)


async def test_nothing_is_left_running_after_the_close(household):
    home = household.add("notes", definition("add"))
    (home / "child").touch()
    async with household.open() as house:
        await house.call("notes_add")
        pids = running(home)
        assert len(pids) == 2
        assert os.getpgid(pids[0]) == os.getpgid(pids[1]) == pids[0] != os.getpgrp()
    assert left_running(home) == []


async def test_no_session_is_opened_before_a_turn_needs_one(household):
    home = household.add("notes", definition("add"))
    async with household.open():
        pass
    assert lines(home / "pids") == []


async def test_the_registry_stays_the_same_while_nothing_changes(household):
    home = household.add("notes", definition("add"))
    async with household.open() as house:
        assert await house.servers.join(BASE, "ada") is await house.servers.join(BASE, "ada")
    assert len(lines(home / "listed")) == 1


async def test_without_servers_the_registry_is_as_it_was(household):
    async with household.open() as house:
        assert await house.servers.join(BASE, "ada") is BASE


@pytest.mark.slow
async def test_a_program_gets_the_variables_that_were_named_and_no_other(household):
    household.add("notes", definition("environment"), env_from=["NOTES_PLACE"])
    async with household.open(NOTES_PLACE="attic ${PATH}", MAIL_PASSWORD="hunter2-and-more") as house:
        found = json.loads((await house.call("notes_environment")).text)
    assert found["NOTES_PLACE"] == "attic ${PATH}"
    found.pop("TWOBRAIN_PROGRAM")
    assert found.keys() <= {"NOTES_PLACE", "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LC_CTYPE"}


@pytest.mark.slow
async def test_a_program_is_started_in_its_folder(household, tmp_path):
    household.add("notes", definition("folder"), cwd=str(tmp_path))
    async with household.open() as house:
        assert (await house.call("notes_folder")).text == str(tmp_path)


@pytest.mark.slow
async def test_headers_are_sent_and_never_told(household):
    home = household.folder / "notes"
    home.mkdir()
    with over_http(home) as port:
        url = f"http://127.0.0.1:{port}/mcp/"
        household.add("notes", definition("secret"), url=url, headers_env={"Authorization": "NOTES_PASS"})
        async with household.open(NOTES_PASS="Bearer open-sesame") as house:
            assert (await house.call("notes_secret")).text == "you sent [redacted]"


def chain(length: int) -> dict[str, Any]:
    """Return a schema that doubles with each of its references."""
    links = {
        f"d{i}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/d{i + 1}"} for k in "xy"}}
        for i in range(length)
    }
    return {"properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": {**links, f"d{length}": {}}}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "nope"}, "its schema is not valid"),
        ({"properties": 5}, "its schema is not valid"),
        ({"type": "string"}, "its schema is not that of an object"),
        ({"properties": {"a": {"$ref": "http://127.0.0.1:9/x"}}}, "refers to http://127.0.0.1:9/x, outside"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "its schema is not valid"),
        ({"properties": {"a": {"type": "string", "pattern": "(["}}}, "its schema is not valid"),
        ({"enum": [1, 2]}, "its schema is not that of an object"),
        ({"description": "x" * 60_000}, "longer than 50,000 characters"),
        ({"properties": {f"a{i}": {} for i in range(501)}}, "more than 500 parts"),
    ],
)
async def test_a_tool_with_a_lying_schema_is_left_out_and_the_others_stay(household, schema, why):
    household.add("notes", definition("odd", schema), definition("add"))
    async with household.open() as house:
        assert set(await house.tools()) == {"notes_add", "mcp:notes"}
        reason = await house.missing("mcp:notes")
    assert reason.startswith("'odd' is left out: its")
    assert why in reason


STRANGE = {
    "type": "object",
    "properties": {
        "node": {"$ref": "#/$defs/Node"},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "a number"},
        "either": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        "several": {"type": ["string", "null"]},
        "both": {"allOf": [{"properties": {"x": {"type": "integer"}}, "required": ["x"]},
                           {"properties": {"y": True}}]},
        "fixed": {"const": "k"},
        "level": {"enum": [1, 2]},
        "list": {"type": "array"},
        "anything": {},
    },
    "required": ["node", "no_such_argument"],
    "oneOf": [{"required": ["maybe"]}, {"required": ["either"]}],
    "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
}  # fmt: skip


async def test_a_strange_but_valid_schema_is_shown_as_what_it_says(household):
    household.add("notes", definition("odd", STRANGE))
    async with household.open() as house:
        odd = (await house.tools())["notes_odd"]
    assert odd.parameters["required"] == ["arguments"]
    first, second = odd.parameters["properties"]["arguments"]["oneOf"]
    assert (first["required"], second["required"]) == (
        ["node", "no_such_argument", "maybe"],
        ["node", "no_such_argument", "either"],
    )
    assert first["properties"] == {
        "node": {"type": "object", "properties": {"next": {"type": "object", "properties": {}}}},
        "maybe": {"description": "a number", "anyOf": [{"type": "integer"}, {"type": "null"}]},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "several": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "both": {"type": "object", "properties": {"x": {"type": "integer"}, "y": {}}, "required": ["x"]},
        "fixed": {"type": "string", "enum": ["k"]},
        "level": {"type": "integer", "enum": [1, 2]},
        "list": {"type": "array", "items": {}},
        "anything": {},
        "no_such_argument": {},
    }
    with pytest.raises(ArgumentsError):
        odd.check({"arguments": {"node": {}, "level": 3, "no_such_argument": 1, "maybe": 1}})
    fits = {"node": {}, "level": 2, "no_such_argument": 1, "maybe": None}
    assert odd.check({"arguments": fits}) == odd.check(fits) == fits
    assert odd.fingerprint({"arguments": fits}) == odd.fingerprint(fits)


async def test_a_call_that_follows_what_is_shown_passes_the_servers_own_schema(household):
    names = [f"tool_{i}" for i in range(len(MAKERS))]
    household.add("makers", *map(definition, names, MAKERS.values()))
    async with household.open() as house:
        tools = await house.tools()
    assert set(tools) == {f"makers_{name}" for name in names}, "none is left out"
    for name in tools:
        for args in followed(tools[name].parameters, 60):
            assert tools[name].check(tools[name].check(args)) == tools[name].check(args)


async def test_a_null_that_says_something_is_another_call_than_none(household):
    nullable = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    schema = {"properties": {"due": nullable, "title": {**nullable, "default": None}}}
    household.add("notes", definition("update", schema))
    async with household.open() as house:
        update = (await house.tools())["notes_update"]
    assert update.parameters["properties"] == {"due": nullable, "title": {"type": "string"}}
    assert update.check({"due": None, "title": None}) == {"due": None, "title": None}
    assert update.fingerprint({"title": None}) == update.fingerprint({}) != update.fingerprint({"due": None})


async def test_what_multiplies_with_each_reference_is_shown_as_deep_as_it_stays_short(household):
    household.add("notes", definition("odd", chain(30)))
    async with household.open() as house:
        shown = json.dumps((await house.tools())["notes_odd"].parameters)
    assert 200 < len(shown) < 5_000


async def test_a_pattern_that_runs_wild_does_not(household):
    schema = {"properties": {"text": {"type": "string", "pattern": "^(a+)+$"}}}
    household.add("notes", definition("add", schema))
    async with household.open() as house:
        with pytest.raises(ArgumentsError, match="does not match"):
            await house.call("notes_add", text="a" * 5_000 + "!")


async def test_of_a_thousand_tools_only_so_many_are_taken_and_those_named_in_the_toml_first(household):
    many = [definition(f"t{i}") for i in range(1_000)]
    household.add("notes", *many, toml="[mcp.servers.notes.tools.t999]\nrole = 'admin'")
    async with household.open() as house:
        tools = await house.tools()
        assert "it has more than 128 tools; the others are left out" in await house.missing("mcp:notes")
    assert len(tools) == 128 + 1
    assert tools["notes_t999"].role == "admin"


async def test_a_huge_description_is_cut(household):
    household.add("notes", definition("add") | {"description": "x" * 100_000})
    async with household.open() as house:
        text = (await house.tools())["notes_add"].description
    assert text == f"{'x' * 2_000}… (cut; it has 100,000 characters)"


async def test_a_schema_too_deep_to_be_read_costs_its_own_tool(household):
    household.add(
        "notes", definition("deep", json.loads('{"not":' * 300 + "{}" + "}" * 300)), definition("add")
    )
    async with household.open() as house:
        assert set(await house.tools()) == {"mcp:notes", "notes_add"}
        assert "'deep' is left out" in await house.missing("mcp:notes")


async def test_what_the_toml_says_of_single_tools_holds_for_them(household):
    toml = """
    role = "admin"
    effect = "send"
    [mcp.servers.notes.tools.add]
    role = "guest"
    effect = "read"
    confirm = false
    [mcp.servers.notes.tools.drop]
    enabled = false
    [mcp.servers.notes.tools.ad]
    """
    household.add("notes", *(definition(name) for name in ("add", "drop", "other")), toml=toml)
    async with household.open() as house:
        tools = await house.tools()
        assert await house.missing("notes_drop") == "enabled = false in twobrain.toml"
        assert await house.missing("mcp:notes") == "twobrain.toml names a tool 'ad' that it lacks"
    add, other = tools["notes_add"], tools["notes_other"]
    assert (add.role, add.effect, add.confirm, add.idempotent) == ("guest", "read", False, True)
    assert (other.role, other.effect, other.confirm, other.idempotent) == ("admin", "send", True, False)


@pytest.mark.parametrize(
    ("server", "tool", "hints", "result"),
    [
        ("", "", {}, (True, "write")),
        ("", "", {"readOnlyHint": True, "idempotentHint": True, "openWorldHint": False}, (True, "write")),
        ("confirm = false", "", {}, (False, "write")),
        ("confirm = false", "", {"destructiveHint": True}, (True, "write")),
        ("confirm = false", "", {"destructiveHint": True, "readOnlyHint": True}, (True, "write")),
        ("confirm = false", "confirm = false", {"destructiveHint": True}, (False, "write")),
        ("", "confirm = false", {"destructiveHint": True}, (False, "write")),
        ("confirm = false", "confirm = true", {"readOnlyHint": True}, (True, "write")),
        ("effect = 'read'", "", {}, (True, "read")),
        ("effect = 'read'", "", {"destructiveHint": True}, (True, "write")),
        ("", "effect = 'read'", {"destructiveHint": True}, (True, "read")),
    ],
)
async def test_what_a_tool_says_of_itself_only_makes_it_ask_more(household, server, tool, hints, result):
    toml = f"{server}\n[mcp.servers.notes.tools.add]\n{tool}"
    household.add("notes", definition("add", annotations=hints), toml=toml)
    async with household.open() as house:
        add = (await house.tools())["notes_add"]
    assert (add.confirm, add.effect) == result


@pytest.mark.parametrize(
    ("server", "tool", "hints", "outbound"),
    [
        ("", "", {}, True),
        ("", "", {"openWorldHint": False}, True),
        ("outbound = false", "", {}, False),
        ("outbound = false", "", {"openWorldHint": True}, True),
        ("", "outbound = false", {"openWorldHint": True}, False),
    ],
)
async def test_a_tool_may_carry_data_out_unless_the_toml_says_it_does_not(
    household, server, tool, hints, outbound
):
    toml = f"{server}\n[mcp.servers.notes.tools.add]\n{tool}"
    household.add("notes", definition("add", annotations=hints), toml=toml)
    async with household.open() as house:
        assert (await house.tools())["notes_add"].outbound is outbound


UNASKED = "[mcp.servers.notes.tools.add]\nconfirm = false"
ADA = Person("ada", "user", confirm_allow=frozenset({"notes_add"}))


def verdict(found: Tool, person: Person = ADA) -> Allow | Confirm | Any:
    return decide(person, found, found.name)


async def test_a_definition_that_changed_asks_again_until_a_person_agrees_to_it(household):
    household.add("notes", definition("add"), toml=UNASKED)
    async with household.open() as house:
        assert (await house.tools())["notes_add"].confirm is False
    household.define("notes", definition("add", WORDS))
    for _ in range(2):  # that it was seen is not that it was agreed to
        async with household.open() as house:
            add = (await house.tools())["notes_add"]
            assert add.confirm is True
            ruling = verdict(add)
            assert isinstance(ruling, Confirm), "whatever was agreed beforehand"
            assert "its definition changed since it was last agreed to. It says now: Do add." in ruling.reason
    async with household.open() as house:
        await house.agree("notes_add")
        assert (await house.tools())["notes_add"].confirm is False
    async with household.open() as house:
        add = (await house.tools())["notes_add"]
        assert (add.confirm, add.caution) == (False, None)
        assert isinstance(verdict(add), Allow)


async def test_one_users_agreement_is_no_other_ones(household):
    household.add("notes", definition("add"), toml=UNASKED)
    async with household.open() as house:
        await house.tools()
    household.define("notes", definition("add", WORDS))
    for _ in range(2):
        async with household.open() as house:
            await house.agree("notes_add", "ada")
            assert (await house.tools("ada"))["notes_add"].confirm is False
            assert isinstance(verdict((await house.tools("bob"))["notes_add"]), Confirm)


async def test_an_agreement_that_is_taken_back_counts_at_once_in_every_process(household):
    household.add("notes", definition("add"), toml=UNASKED)
    async with household.open() as house, household.open() as other:
        for each in (house, other):
            assert (await each.tools())["notes_add"].confirm is False
        said = {"server": "notes", "tool": "add", "agreed": False, "own": False}
        assert await house.servers.agreements("ada") == [said]
        assert not await house.servers.withdraw("notes", "none", "ada")
        assert await house.servers.withdraw("notes", "add", "ada")
        for each in (house, other):
            ruling = verdict((await each.tools())["notes_add"])
            assert isinstance(ruling, Confirm)
            assert "your agreement to it was taken back" in ruling.reason
            assert (await each.tools("bob"))["notes_add"].confirm is False
        assert await other.servers.agreements("ada") == [{**said, "own": True}]
        await other.agree("notes_add")
        assert isinstance(verdict((await house.tools())["notes_add"]), Allow)
        assert await house.servers.agreements("ada") == [{**said, "agreed": True, "own": True}]


async def test_an_agreement_to_another_definition_than_there_is_pins_nothing(household):
    household.add("notes", definition("add"), toml=UNASKED)
    async with household.open() as house:
        shown = (await house.tools())["notes_add"].definition
    household.define("notes", definition("add", WORDS))
    async with household.open() as house:
        assert (await house.tools())["notes_add"].definition != shown
        await house.servers.approve_definition("notes_add", shown, "ada")
        assert (await house.tools())["notes_add"].caution


@pytest.mark.slow
async def test_a_definition_that_changes_under_a_session_is_noticed_and_not_called(household):
    household.add("notes", definition("add"), definition("renew"), toml=UNASKED)
    async with household.open() as house:
        before = (await house.tools())["notes_add"]
        await house.call("notes_renew")
        after = (await house.tools())["notes_add"]
        assert (before.confirm, after.confirm) == (False, True)
        assert after.description == "Something else by now."
        here = Here(house.settings, "ada", "user", "t", "c", "k")
        assert "defines 'add' otherwise by now" in (await run_tool(before, here, {})).text
        assert (await run_tool(after, here, {})).status == "executed"


async def test_a_tool_that_is_new_on_a_server_whose_tools_run_unasked_asks_until_agreed_to(household):
    household.add("notes", definition("add"), confirm=False)
    async with household.open() as house:
        assert (await house.tools())["notes_add"].confirm is False
    household.define("notes", definition("add"), definition("newcomer"))
    async with household.open() as house:
        tools = await house.tools()
        assert (tools["notes_add"].confirm, tools["notes_newcomer"].confirm) == (False, True)
        await house.agree("notes_newcomer")
        assert (await house.tools())["notes_newcomer"].confirm is False


async def test_a_server_that_is_trusted_later_runs_unasked_from_then_on(household):
    household.add("notes", definition("add"))
    async with household.open() as house:
        assert (await house.tools())["notes_add"].confirm is True
    household.toml += "confirm = false\n"
    async with household.open() as house:
        assert (await house.tools())["notes_add"].confirm is False


async def test_pins_are_their_owners_alone_and_damaged_ones_let_nothing_run_unasked(household):
    household.add("notes", definition("add"), toml=UNASKED)
    async with household.open() as house:
        await house.tools()
    pins = household.folder / "data" / "mcp_pins.json"
    assert stat.S_IMODE(pins.stat().st_mode) == 0o600
    pins.write_text("{")
    for _ in range(2):
        async with household.open() as house:
            assert (await house.tools())["notes_add"].confirm is True


async def test_agreeing_to_a_tool_that_is_no_servers_does_nothing(household):
    household.add("notes", definition("add"))
    async with household.open() as house:
        await house.tools()
        for name in ("get_time", "mcp:notes"):
            await house.servers.approve_definition(name, get_time.definition, "ada")
    assert "get_time" not in (household.folder / "data" / "mcp_pins.json").read_text()


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ("[mcp.servers.notes]\ncommand = 'x'\ncomand = 1", "line 3: mcp.servers.notes.comand: unknown name"),
        ("[mcp.servers.notes]\ncommand = 'x'\n[mcp.servers.notes.tools.add]\nconfrm = true",
         "line 4: mcp.servers.notes.tools.add.confrm: unknown name"),
        ("[mcp.servers.notes]\nurl = 'http://a'\nrole = 'king'", "line 3: mcp.servers.notes.role: "),
        ("[mcp.servers.notes]", "line 1: mcp.servers.notes: name either a command or a url"),
        ("[mcp.servers.notes]\nurl = 'http://a'\ncommand = 'x'", "name either a command or a url"),
        ("[mcp.servers.notes]\nurl = 'http://a'\nenv_from = ['X']", "env_from is of no use with a url"),
        ("[mcp.servers.notes]\nurl = 'ftp://a'", "line 2: mcp.servers.notes.url: 'ftp://a' is not"),
        ("[mcp.servers.notes]\nurl = 'http://ada:pw@a'", "must not hold a user name or password"),
        ("[mcp.server.notes]\nurl = 'http://a'", "mcp.server: unknown name"),
        ("[mcp.servers.'two words']\nurl = 'http://a'", "'two words' is no name for a server"),
        ("[mcp.servers.notes]\ncommand = 'x'\ntimeout_s = 0", "line 3: mcp.servers.notes.timeout_s: "),
    ],
)  # fmt: skip
def test_a_table_that_is_not_as_it_should_be_is_refused_with_its_line(household, toml, complaint):
    household.toml = toml
    with pytest.raises(ConfigurationError) as refusal:
        Servers(household.settings())
    assert complaint in str(refusal.value)


def obedient(heard: Heard) -> Reply:
    """Call what the request names, once; then tell what came back."""
    if heard.results:
        return Reply(text="Found: " + " ".join(result.text for result in heard.results))
    return Reply(
        calls=(Call(heard.request, {"text": "milk"}),) if heard.request in heard.tools else (), text="."
    )


@pytest.fixture
def at_home(household: Household, open_wire) -> Household:
    wire = open_wire("openai", brain=obedient)
    household.toml = f"""
    [models.local]
    provider = "openai"
    model = "m"
    base_url = "{wire.url}"
    api_key_env = "LOCAL_KEY"
    [roles]
    orchestrator = ["local"]
    chat = ["local"]
    """
    return household


async def test_a_turn_calls_a_servers_tool_once_the_person_agrees_and_leaves_nothing_running(at_home):
    home = at_home.add("notes", definition("add", WORDS))
    async with open_orchestrator(at_home.settings(LOCAL_KEY="sk-test-key-1")) as orchestrator:
        asked = await orchestrator.ask("notes_add", thread_id="t")
        assert "Calls add on the MCP server notes." in asked.pending["action_requests"][0]["description"]
        assert lines(home / "called") == []
        assert running(home) != []
        done = await orchestrator.resume("t", answer=True)
    assert [(each["tool"], each["status"]) for each in done.tool_calls] == [("notes_add", "executed")]
    assert 'add: {"text": "milk"}' in done.response
    assert lines(home / "called") == ['add {"text": "milk"}']
    assert left_running(home) == []


async def test_a_changed_tool_asks_until_a_person_approves_a_call_of_it(at_home):
    home = at_home.add("notes", definition("add", WORDS), toml=UNASKED)
    changed = {**definition("add", WORDS), "description": "Do something else."}
    async with open_orchestrator(at_home.settings(LOCAL_KEY="sk-test-key-1")) as orchestrator:
        assert (await orchestrator.ask("notes_add", thread_id="t")).pending is None
    at_home.define("notes", changed)
    async with open_orchestrator(at_home.settings(LOCAL_KEY="sk-test-key-1")) as orchestrator:
        asked = await orchestrator.ask("notes_add", thread_id="t")
        assert "definition changed" in asked.pending["action_requests"][0]["description"]
        await orchestrator.resume("t", answer=True)
        assert (await orchestrator.ask("notes_add", thread_id="t2")).pending is None
    assert len(lines(home / "called")) == 3


async def test_a_turn_goes_on_without_the_servers_that_cannot_be_used(at_home):
    at_home.add("bad", **SLEEPER, connect_timeout_s=0.3)
    home = at_home.add("notes", definition("add", WORDS), toml=UNASKED)
    async with open_orchestrator(at_home.settings(LOCAL_KEY="sk-test-key-1")) as orchestrator:
        done = await orchestrator.ask("notes_add", thread_id="t")
        assert done.pending is None
        known = {each.name: each for each in await orchestrator.all_tools()}
        assert "did not answer within 0.3 s" in known["mcp:bad"].missing(orchestrator.settings)
    assert 'add: {"text": "milk"}' in done.response
    assert lines(home / "called") == ['add {"text": "milk"}']


async def test_a_bad_table_stops_the_start(at_home):
    at_home.toml += "[mcp.servers.notes]\n"
    with pytest.raises(ConfigurationError, match="name either a command or a url"):
        async with open_orchestrator(at_home.settings()):
            raise AssertionError


@pytest.mark.slow
def test_no_package_of_mcp_is_loaded_where_no_server_is_configured(tmp_path):
    script = """
import asyncio, sys
from graphs.session import open_orchestrator
async def go():
    async with open_orchestrator() as orchestrator:
        await orchestrator.ask("what is 1+1")
asyncio.run(go())
print("mcp" in sys.modules, "jsonschema_rs" in sys.modules)
"""
    environ = {"PATH": os.defpath, "HOME": str(tmp_path), "PYTHONPATH": str(SERVER.parents[3])}
    environ["TWOBRAIN_DATA_DIR"] = str(tmp_path / "data")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False False\n"
