"""Who somebody is, in each form in which an engine tells its handlers of a request."""

import hashlib
import logging
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph_sdk import Auth

from base.data_dir import USERS
from base.errors import ConfigurationError, UnknownThreadError
from base.settings import load_settings
from base.users import AddedUser, UsersFile, digest_of
from graphs.orchestrator import builder
from nodes.gate.request import ANSWERED
from nodes.resources import CONFIGURED, Resources, open_resources, share, shared
from server.auth import authenticate, look_up, own, refuse, remembered
from server.engine_check import TokenAuth, check_engine

ALICE, BOB = "token-of-alice-4731", "token-öf-bob"
CONFIG = "".join(
    f'[users.{name}]\ntoken_sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n'
    for name, token in {"alice": ALICE, "bob": BOB}.items()
)
LANGSMITH = "lsv2_pt_0123456789abcdef_0123456789"
TAKEN: dict[str, tuple[Mapping[Any, Any], str]] = {
    "langgraph-api": ({b"host": b"x", b"authorization": f"Bearer {ALICE}".encode()}, "alice"),
    "aegra": ({"host": "x", "authorization": f"Bearer {ALICE}"}, "alice"),
    "names as they were typed": ({"Authorization": f"bearer  {ALICE} "}, "alice"),
    "the key of a chat UI": ({b"x-api-key": ALICE.encode()}, "alice"),
    "the key of a chat UI, as text": ({"X-Api-Key": f" {ALICE}"}, "alice"),
    "both, the same": ({"authorization": f"Bearer {ALICE}", "x-api-key": ALICE}, "alice"),
    "both, and the key is LangSmith's": (
        {"authorization": f"Bearer {ALICE}", "x-api-key": LANGSMITH},
        "alice",
    ),
    "a proxy's login and a key": ({"authorization": "Basic YTpi", "x-api-key": ALICE}, "alice"),
    "beyond ASCII, as bytes": ({b"authorization": f"Bearer {BOB}".encode()}, "bob"),
    "beyond ASCII, as text": ({"x-api-key": BOB.encode().decode("latin-1")}, "bob"),
}
REFUSED: dict[str, Mapping[Any, Any]] = {
    "nothing": {},
    "no token": {"authorization": "Bearer "},
    "another scheme": {"authorization": f"Basic {ALICE}"},
    "no scheme": {"authorization": ALICE},
    "two that differ": {"authorization": f"Bearer {ALICE}", "x-api-key": BOB},
    "a key that is nobody's": {b"authorization": f"Bearer {ALICE}".encode(), b"x-api-key": b"mine"},
    "LangSmith's key alone": {"x-api-key": LANGSMITH},
    "two in one": {"authorization": f"Bearer {ALICE}, Bearer {BOB}"},
    "the hash": {"x-api-key": digest_of(ALICE.encode())},
    "of other case": {"authorization": f"Bearer {ALICE.upper()}"},
    "no text at all": {b"authorization": b"Bearer \xff\xfe\x00"},
    "beyond latin-1": {"authorization": "Bearer \U0001f511\ud800"},
    "a long one": {"authorization": f"Bearer {ALICE * 5_000}"},
}


@dataclass(frozen=True)
class User:
    """A user as an engine hands them to a handler."""

    identity: str
    is_authenticated: bool = True


async def opened(tmp_path: Path, config: str) -> Resources:
    (tmp_path / "twobrain.toml").write_text(config)
    environ = {
        "TWOBRAIN_CONFIG": str(tmp_path / "twobrain.toml"),
        "TWOBRAIN_DATA_DIR": str(tmp_path / "data"),
    }
    res = await open_resources(load_settings(environ))
    share(res)
    return res


@pytest.fixture
async def guarded(tmp_path):
    res = await opened(tmp_path, CONFIG)
    yield res
    shared.clear()
    await res.close()


@pytest.fixture
async def unguarded(tmp_path):
    res = await opened(tmp_path, "")
    yield res
    shared.clear()
    await res.close()


async def asked(handler: Any, name: str, resource: str, action: str, value: dict[str, Any]) -> Any:
    user = name if isinstance(name, User) else User(name)
    ctx = Auth.types.AuthContext(user=user, permissions=[], resource=resource, action=action)
    return await handler(ctx=ctx, value=value)


async def status(*request: Any) -> int:
    """Return the status of a refusal; 200 without one, 403 for False, as engines have it."""
    try:
        return 403 if await asked(*request) is False else 200
    except Auth.exceptions.HTTPException as refusal:
        return refusal.status_code


@pytest.mark.parametrize("how", TAKEN)
async def test_a_token_is_known_in_every_form_in_which_an_engine_hands_on_headers(how, guarded):
    headers, name = TAKEN[how]
    assert (await authenticate(headers))["identity"] == name
    assert (await authenticate(headers=headers))["permissions"] == ["user"]


@pytest.mark.parametrize("how", REFUSED)
async def test_whatever_else_a_header_says_lets_nobody_in(how, guarded):
    with pytest.raises(Auth.exceptions.HTTPException, match="Authorization: Bearer TOKEN") as refused:
        await authenticate(REFUSED[how])
    assert refused.value.status_code == 401


async def test_where_nobody_has_a_token_whoever_comes_is_local_whatever_they_send(unguarded):
    for headers in ({}, *REFUSED.values()):
        assert await authenticate(headers) == {"identity": "local", "is_authenticated": False}


async def test_a_running_server_asks_for_tokens_from_the_first_that_is_given_and_refuses_one_taken_back(
    unguarded,
):
    key = {"x-api-key": "a new one"}
    folder = unguarded.settings.data_dir
    carol = AddedUser(role="guest", token_sha256=digest_of(b"a new one"))
    UsersFile(folder).change(lambda users: users.update(carol=carol))
    assert await authenticate(key) == {"identity": "carol", "permissions": ["guest"]}
    assert await status(own, "carol", "threads", "search", {}) == 200
    assert await status(own, User("local", is_authenticated=False), "threads", "search", {}) == 403
    UsersFile(folder).change(lambda users: users["carol"].update(token_sha256=None))
    for headers in (key, {}):
        with pytest.raises(Auth.exceptions.HTTPException, match="401"):
            await authenticate(headers)
    assert await status(own, "carol", "threads", "search", {}) == 403
    (folder / USERS).unlink()
    with pytest.raises(Auth.exceptions.HTTPException, match="401"):
        await authenticate({})


@pytest.mark.parametrize("file", ["twobrain.toml", f"data/{USERS}"])
@pytest.mark.parametrize("broken", ["[users.alice", '{"alice": {}}', "\xff"])
async def test_while_a_file_of_the_users_is_broken_nobody_is_let_in_and_the_log_says_so_once(
    file, broken, guarded, tmp_path, caplog
):
    before = (tmp_path / file).read_bytes() if (tmp_path / file).exists() else b"{}"
    (tmp_path / file).write_bytes(broken.encode("latin-1"))
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            with pytest.raises(Auth.exceptions.HTTPException, match="403: This server's settings cannot"):
                await authenticate({"x-api-key": ALICE})
    assert caplog.text.count("nobody is let in") == 1
    (tmp_path / file).write_bytes(before)
    assert (await authenticate({"x-api-key": ALICE}))["identity"] == "alice"


async def test_a_token_in_twobrain_toml_counts_from_when_it_is_written_there(guarded, tmp_path):
    with (tmp_path / "twobrain.toml").open("a") as file:
        file.write(f'[users.dan]\nrole = "guest"\ntoken_sha256 = "{digest_of(b"of dan")}"\n')
    assert await authenticate({"x-api-key": "of dan"}) == {"identity": "dan", "permissions": ["guest"]}


THREAD = "0193b8c4-0000-7000-8000-000000000001"
CREATED: dict[str, dict[str, Any]] = {
    "langgraph-api": {"thread_id": THREAD, "metadata": {"owner": "bob"}, "if_exists": "raise"},
    "aegra": {"thread_id": THREAD, "metadata": None, "if_exists": None, "ttl": None},
    "a body that nobody read": {"thread_id": THREAD, "metadata": "owner"},
    "nothing but the path": {"thread_id": THREAD},
}
RUNS: dict[str, dict[str, Any]] = {
    "langgraph-api": {"metadata": {}, "kwargs": {"config": {"configurable": {}}, "command": None}},
    "aegra": {"metadata": None, "config": {}, "context": {}, "command": {"resume": True}, "input": None},
    "aegra without a config": {"metadata": None, "config": None, "command": None},
    "aegra's commands": {"id": 1, "method": "run.start", "params": {"assistant_id": "orchestrator"}},
    "a body that nobody read": {"config": "none", "params": ["x"], "metadata": [1]},
}


@pytest.mark.parametrize("engine", CREATED)
async def test_a_thread_is_its_makers_whatever_its_metadata_say_or_where_they_are_none(engine, guarded):
    value = dict(CREATED[engine])
    given = value.get("metadata")
    assert await asked(own, "alice", "threads", "create", value) == {"owner": "alice"}
    assert value["metadata"]["owner"] == "alice"
    if isinstance(given, dict):
        assert value["metadata"] is given  # langgraph-api reads the dict that it handed over
    for action in ("create", "update", "create_run"):
        assert await status(own, "bob", "threads", action, {**value, **RUNS["aegra"]}) == 404


@pytest.mark.parametrize(
    "spelled", [THREAD.upper(), THREAD.replace("-", ""), f"{{{THREAD}}}", uuid.UUID(THREAD)]
)
async def test_an_id_that_is_spelled_otherwise_makes_no_new_thread(spelled, guarded):
    await guarded.ledger.touch(THREAD, user="alice", status="interrupted")
    for action in ("create", "create_run"):
        assert await status(own, "bob", "threads", action, {"thread_id": spelled, **RUNS["aegra"]}) == 404
    assert len(await guarded.ledger.threads()) == 1


@pytest.mark.parametrize("engine", RUNS)
async def test_a_run_is_let_through_in_the_form_of_each_engine_and_on_ones_own_threads_alone(engine, guarded):
    await guarded.ledger.touch(THREAD, user="alice", status="interrupted")
    value = {**RUNS[engine], "thread_id": THREAD}
    assert await asked(own, "alice", "threads", "create_run", value) == {"owner": "alice"}
    assert value["metadata"]["owner"] == "alice"
    assert await status(own, "bob", "threads", "create_run", {**RUNS[engine], "thread_id": THREAD}) == 404


async def test_what_a_client_says_of_the_question_it_answers_is_taken_away_on_aegra_too(guarded):
    value = {"config": {"configurable": {ANSWERED: "forged", "other": 1}}, "thread_id": THREAD}
    chosen = await asked(own, "alice", "threads", "create_run", value)
    assert chosen == {"owner": "alice", "config": {"configurable": {"other": 1}}}


async def test_what_was_put_off_without_a_token_is_not_done_once_users_have_one(guarded):
    """A server hands a schedule's maker on by name alone."""
    for name in ("local", "anonymous", "carol"):
        assert await status(own, name, "threads", "create_run", dict(RUNS["langgraph-api"])) == 403
        assert await status(remembered, name, "store", "get", {"namespace": ("memories", name)}) == 403


async def test_where_nobody_has_a_token_a_schedule_runs_on_its_thread(unguarded):
    """langgraph-api calls everybody who has a name authenticated, once a schedule is due."""
    await unguarded.ledger.touch(THREAD, user="local", status="interrupted")
    value = {**RUNS["langgraph-api"], "thread_id": THREAD}
    assert await asked(own, User("local", is_authenticated=True), "threads", "create_run", value) is None


MEMORIES = {
    "langgraph-api": {"namespace": ("memories", "alice"), "key": "x"},
    "aegra": {"namespace": ["memories", "alice"], "key": "x"},
    "aegra's search": {"namespace_prefix": ["memories", "alice", "deeper"], "query": None},
    "aegra's namespaces": {"prefix": ["memories", "alice"], "suffix": None},
}


@pytest.mark.parametrize("engine", MEMORIES)
async def test_memories_are_a_users_own_in_the_form_of_each_engine(engine, guarded):
    assert await status(remembered, "alice", "store", "search", MEMORIES[engine]) == 200
    assert await status(remembered, "bob", "store", "search", MEMORIES[engine]) == 403
    for wrong in ({}, {"namespace": None}, {"prefix": "memories.alice"}, {"namespace_prefix": ["memories"]}):
        assert await status(remembered, "alice", "store", "search", wrong) == 403


async def test_assistants_are_read_by_everybody_and_made_by_nobody(guarded):
    assert await status(look_up, "bob", "assistants", "read", {"assistant_id": "orchestrator"}) == 200
    assert await status(refuse, "bob", "assistants", "create", {"metadata": None}) == 403


ASKED = {"messages": [{"role": "user", "content": 'write "x" to scheduled.txt'}]}


async def ran(res: Resources, user: User | None, given: Any = ASKED) -> dict[str, Any]:
    """Run the graph as an engine does that asks no handler of ours first."""
    graph = builder.compile(checkpointer=InMemorySaver())
    choices = {"thread_id": THREAD, "assistant_id": "x", "graph_id": "x", CONFIGURED: res}
    return await graph.ainvoke(given, {"configurable": {**choices, "langgraph_auth_user": user}})


@pytest.mark.parametrize(
    "user",
    [
        None,
        User("", is_authenticated=False),
        User("anonymous", is_authenticated=False),
        User("anonymous"),
        User("alice", is_authenticated=False),
        User("local"),
        User("langgraph-studio-user"),
        User("carol"),
    ],
)
async def test_no_turn_runs_for_whom_our_handlers_did_not_let_in(user, guarded):
    with pytest.raises(ConfigurationError, match=r"did not ask for one|has no token"):
        await ran(guarded, user)
    await guarded.ledger.settled()
    assert (await guarded.ledger.threads(), await guarded.ledger.audit()) == ([], [])
    assert await guarded.ledger.usage() == []


async def test_no_turn_runs_on_anothers_thread_whatever_engine_hands_it_on(guarded):
    await guarded.ledger.touch(THREAD, user="alice", status="answered")
    with pytest.raises(UnknownThreadError):
        await ran(guarded, User("bob"))
    assert await guarded.ledger.audit() == []
    assert (await ran(guarded, User("alice")))["pending"]


async def test_a_turn_ends_at_its_next_step_once_its_users_token_is_taken_back(guarded, monkeypatch):
    """Between the planner's call and its confirmation."""
    file, read = UsersFile(guarded.settings.data_dir), guarded.settings.read_users
    steps = []

    def taken_back():
        steps.append(len(steps))
        if len(steps) == 3:
            gone = AddedUser(role="user", token_sha256=None)
            file.change(lambda users: users.update(alice=gone))
        return read()

    monkeypatch.setattr(type(guarded.settings), "read_users", lambda _: taken_back())
    with pytest.raises(ConfigurationError, match="'alice' has no token"):
        await ran(guarded, User("alice"))
    assert len(steps) == 3


class TestTheEngine:
    """Whether it has loaded our handlers is asked of it before anybody is served."""

    @pytest.fixture
    def engine(self, monkeypatch):
        """Stand in for an engine's module, of which none else is asked."""
        for name in ("langgraph_api", "langgraph_api.auth.custom", "aegra_api"):
            monkeypatch.delitem(sys.modules, name, raising=False)

        def serve(package: str, place: str, loaded: Any) -> None:
            monkeypatch.setitem(sys.modules, package, SimpleNamespace())
            monkeypatch.setitem(sys.modules, place, SimpleNamespace(get_auth_instance=lambda: loaded))

        return serve

    @pytest.mark.parametrize("loaded", [None, "js", Auth()])
    @pytest.mark.parametrize(
        ("package", "place"),
        [
            ("langgraph_api", "langgraph_api.auth.custom"),
            ("aegra_api", "aegra_api.core.auth_middleware"),
        ],
    )
    def test_one_that_lets_everybody_in_does_not_start(self, package, place, loaded, engine):
        engine(package, place, loaded)
        with pytest.raises(ConfigurationError, match=r"let everybody in.*auth\.path"):
            check_engine()
        engine(package, place, TokenAuth())
        check_engine()

    def test_one_that_is_not_known_does_not_start(self, engine):
        with pytest.raises(ConfigurationError, match="not known whether this engine asks"):
            check_engine()


def test_a_fresh_file_of_users_is_its_owners_alone(tmp_path):
    alice = AddedUser(role="user", token_sha256=None)
    UsersFile(tmp_path / "data").change(lambda users: users.update(alice=alice))
    for path in ((tmp_path / "data"), *(tmp_path / "data").iterdir()):
        assert path.stat().st_mode & 0o077 == 0
