"""The saver keeps the whole promise of its protocol, in groups, for many callers, and says what failed."""

import asyncio
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.sqlite import SqliteSaver

from base.errors import StorageError
from storage.checkpoints.saver import Checkpoints, open_checkpoints
from storage.serializer import StrictSerializer
from storage.writer import Writer

HOUSE = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "checkpoints.db"


def at(thread: str, checkpoint: str | None = None) -> dict:
    named = {"thread_id": thread, "checkpoint_ns": ""}
    return {"configurable": named if checkpoint is None else {**named, "checkpoint_id": checkpoint}}


async def put(saver: Checkpoints, thread: str, **values) -> dict:
    """Put a checkpoint that holds the values and begins a thread, and wait for it to be on disk."""
    checkpoint = {
        **empty_checkpoint(),
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, 1),
    }
    place = await saver.aput(at(thread), checkpoint, {"source": "loop", "step": 0}, {})
    await saver.settled(thread)
    return place


async def values(saver: Checkpoints, thread: str) -> dict | None:
    found = await saver.aget_tuple(at(thread))
    return found and found.checkpoint["channel_values"]


class Commits:
    """Counts the commits, and does something before each from the n-th on."""

    def __init__(self, act: Callable[[], None] = lambda: None, first: int = 0) -> None:
        self.count = 0
        self._act = act
        self._first = first

    def __call__(self) -> None:
        self.count += 1
        if self.count > self._first:
            self._act()


def full() -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorname = "SQLITE_FULL"
    raise error


async def test_it_conforms_in_full(path):
    @checkpointer_test(name="checkpoints")
    async def saver():
        async with open_checkpoints(path) as opened:
            yield opened

    report = await validate(saver)

    assert report.conformance_level() == "FULL"
    assert {name for name, result in report.results.items() if not result.passed} == set()


async def test_what_many_put_at_once_shares_few_transactions(path):
    commits = Commits()
    async with open_checkpoints(path, commits) as saver:
        await asyncio.gather(*(put(saver, f"t{n}", n=n) for n in range(500)))
        assert [await values(saver, f"t{n}") for n in range(500)] == [{"n": n} for n in range(500)]

    assert commits.count < 20


async def test_what_a_step_wrote_and_the_checkpoint_after_it_are_one_transaction(path):
    commits = Commits()
    async with open_checkpoints(path, commits, Writer("patient", gather_s=60)) as saver:
        first = await put(saver, "t", n=1)
        await saver.aput_writes(first, [("n", 2), ("m", 3)], "task")
        await put(saver, "t", n=2)

        assert commits.count == 2
        before = await saver.aget_tuple(first)
        assert [(channel, value) for _, channel, value in before.pending_writes] == [("n", 2), ("m", 3)]


@pytest.mark.parametrize("on_disk", [False, True])
async def test_what_a_step_wrote_goes_once_the_checkpoint_after_it_holds_it(path, on_disk):
    counted = {"counters_since_delta_snapshot": {"messages": (1, 1)}}
    outside = "00000000-0000-0000-0000-000000000000"
    async with open_checkpoints(path) as saver:
        first = await put(saver, "t", n=1)
        other = await put(saver, "other", n=1)
        for config in (first, other):
            await saver.aput_writes(config, [("n", 2), ("messages", "hello"), ("m", 3)], "task")
        await saver.aput_writes(first, [("__interrupt__", "well?")], "asks")
        await saver.aput_writes(first, [("n", 4)], outside)
        if on_disk:
            assert len((await saver.aget_tuple(first)).pending_writes) == 5
        second = await saver.aput(first, {**empty_checkpoint(), "channel_values": {"n": 2}}, counted, {})
        await saver.aput_writes(second, [("n", 5)], "task")

        kept = sorted((await saver.aget_tuple(first)).pending_writes)
        assert kept == [
            (outside, "n", 4),
            ("asks", "__interrupt__", "well?"),
            ("task", "messages", "hello"),
        ]
        assert len((await saver.aget_tuple(other)).pending_writes) == 3
        assert (await saver.aget_tuple(second)).pending_writes == [("task", "n", 5)]


async def test_a_thread_is_read_as_it_stood_at_one_moment(path, monkeypatch):
    traces, connect = [], sqlite3.connect

    def noting(*args, **options):
        opened = connect(*args, **options)
        for trace in traces:
            opened.set_trace_callback(trace)
        return opened

    monkeypatch.setattr(sqlite3, "connect", noting)
    counted = {"counters_since_delta_snapshot": {"messages": (1, 1)}}
    async with open_checkpoints(path) as saver, open_checkpoints(path) as other:
        loop = asyncio.get_running_loop()
        first = await put(saver, "t", n=1)
        await saver.aput_writes(first, [("n", 2), ("messages", "hello")], "task")
        before = await saver.aget_tuple(at("t"))

        async def go_on() -> None:
            await other.aput(first, {**empty_checkpoint(), "channel_values": {"n": 2}}, counted, {})
            await other.settled("t")

        def interrupt(statement: str) -> None:
            if traces and "FROM writes" in statement:
                traces.clear()
                asyncio.run_coroutine_threadsafe(go_on(), loop).result()

        traces.append(interrupt)
        meanwhile = await saver.aget_tuple(at("t"))
        assert meanwhile == before
        assert (await saver.aget_tuple(at("t"))).config != before.config


async def test_what_a_step_wrote_is_on_disk_soon_though_nothing_follows_it(path):
    written = threading.Event()
    async with open_checkpoints(path, Commits(written.set, first=1)) as saver:
        first = await put(saver, "t", n=1)
        await saver.aput_writes(first, [("n", 2)], "task")
        assert await asyncio.to_thread(written.wait, 30)


async def test_nobody_waits_for_a_checkpoint_until_it_has_to_be_on_disk(path):
    commits = Commits()
    async with open_checkpoints(path, commits, Writer("patient", gather_s=60)) as saver:
        for step in range(3):
            checkpoint = {
                **empty_checkpoint(),
                "channel_values": {"n": step},
                "channel_versions": {"n": step},
            }
            await saver.aput(at("t"), checkpoint, {"source": "loop", "step": step}, {})
        assert commits.count == 0
        await saver.settled("t")
        assert commits.count == 1
        assert await values(saver, "t") == {"n": 2}


async def test_an_interrupt_is_on_disk_once_it_is_written(path):
    async with open_checkpoints(path) as saver:
        first = await put(saver, "t", n=1)
        await saver.aput_writes(first, [("__interrupt__", "well?")], "task")
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT channel FROM writes").fetchall() == [("__interrupt__",)]


async def test_a_cancelled_caller_loses_no_write(path):
    going, held = threading.Event(), threading.Event()

    def wait() -> None:
        going.set()
        held.wait(180)

    async with open_checkpoints(path, wait) as saver:
        first = asyncio.create_task(put(saver, "a", n=1))
        await asyncio.to_thread(going.wait, 30)
        second = asyncio.create_task(put(saver, "b", n=2))
        await asyncio.sleep(0)
        for task in (first, second):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        held.set()
        assert (await values(saver, "a"), await values(saver, "b")) == ({"n": 1}, {"n": 2})


async def test_closing_writes_what_is_queued(path):
    async with open_checkpoints(path) as saver:
        first = await put(saver, "t", n=1)
        await saver.aput_writes(first, [("n", 2)], "task")
    async with open_checkpoints(path) as saver:
        assert len((await saver.aget_tuple(first)).pending_writes) == 1


async def test_a_full_disk_is_told_to_those_who_wait_and_to_nobody_else(path):
    commits = Commits(full, first=2)
    async with open_checkpoints(path, commits) as saver:
        first = await put(saver, "before", n=1)
        await put(saver, "other", n=1)
        with pytest.raises(StorageError, match=r"checkpoints\.db.*disk is full.*free some space"):
            await put(saver, "late", n=1)
        await saver.aput_writes(first, [("n", 2)], "task")
        with pytest.raises(StorageError, match="disk is full"):
            await saver.aget_tuple(first)
        assert await values(saver, "other") == {"n": 1}


class Disk:
    """Is full while it is, and tells when a commit has failed and been rolled back."""

    def __init__(self) -> None:
        self.is_full = False

    def __call__(self) -> None:
        if self.is_full:
            full()

    async def fails(self, saver: Checkpoints) -> None:
        """Return once all that was queued before has failed; none of it is tried again by that."""
        with pytest.raises(StorageError):
            await saver.adelete_for_runs(["none"])  # it goes the same way, behind them


def step(n: int) -> tuple:
    """Return what a step's checkpoint is put with; nobody waits for it to be on disk."""
    checkpoint = {**empty_checkpoint(), "channel_values": {"n": n}, "channel_versions": {"n": n}}
    return checkpoint, {"source": "loop", "step": n}, {}


def on_the_disk(path: Path) -> tuple[int, int]:
    """Return how many checkpoints and writes are there, asking no saver, which would wait for them."""
    with closing(sqlite3.connect(path)) as other:
        counts = [other.execute(f"SELECT count(*) FROM {name}") for name in ("checkpoints", "writes")]
        return tuple(count.fetchone()[0] for count in counts)


async def test_a_write_that_failed_unheard_is_made_up_for_by_the_checkpoint_that_follows(path):
    disk = Disk()
    async with open_checkpoints(path, disk) as saver:
        first = await put(saver, "t", n=1)
        disk.is_full = True
        await saver.aput_writes(first, [("n", 2)], "task")
        await disk.fails(saver)
        disk.is_full = False
        assert on_the_disk(path) == (1, 0)
        await saver.aput(at("t"), *step(2))
        assert on_the_disk(path) == (2, 1), "before its caller goes on"


async def test_whoever_writes_after_an_unheard_failed_write_is_told_that_it_fails_again(path):
    disk = Disk()
    async with open_checkpoints(path, disk) as saver:
        first = await put(saver, "t", n=1)
        disk.is_full = True
        await saver.aput_writes(first, [("n", 2)], "task")
        await disk.fails(saver)
        for n in (2, 3):
            with pytest.raises(StorageError, match="disk is full"):
                await saver.aput(at("t"), *step(n))
        with pytest.raises(StorageError, match="disk is full"):
            await saver.aput_writes(first, [("n", 3)], "other")
        disk.is_full = False
        await saver.aput(at("t"), *step(4))
        assert on_the_disk(path) == (4, 2), "all of it is made up for"


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_write_that_failed_whoever_read_is_made_up_for_all_the_same(path, cancelled):
    disk = Disk()
    async with open_checkpoints(path, disk) as saver:
        first = await put(saver, "t", n=1)
        disk.is_full = True
        await saver.aput_writes(first, [("n", 2)], "task")
        reading = asyncio.create_task(saver.aget_tuple(first))
        await asyncio.sleep(0)
        if cancelled:
            reading.cancel()
        with pytest.raises(asyncio.CancelledError if cancelled else StorageError):
            await reading
        await disk.fails(saver)
        disk.is_full = False
        await saver.aput(at("t"), *step(2))
        assert on_the_disk(path) == (2, 1)


async def test_closed_checkpoints_say_so(path):
    async with open_checkpoints(path) as saver:
        pass
    with pytest.raises(StorageError, match="closed"):
        await put(saver, "t", n=1)
    with pytest.raises(StorageError, match="closed"):
        await saver.aget_tuple(at("t"))


async def test_several_event_loops_share_one_saver(path):
    async def write(name: str) -> None:
        await asyncio.gather(*(put(saver, f"{name}{n}", n=n) for n in range(50)))

    async with open_checkpoints(path) as saver:
        others = [asyncio.to_thread(asyncio.run, write(name)) for name in "abc"]
        await asyncio.gather(write("d"), *others)
        assert len([each async for each in saver.alist(None)]) == 200


PROCESS = """
import asyncio, pathlib, sys
from storage.checkpoints.saver import open_checkpoints
from tests.storage.test_checkpoints import put

async def main(path, name):
    async with open_checkpoints(pathlib.Path(path)) as saver:
        for start in range(0, 100, 10):
            await asyncio.gather(*(put(saver, f"{name}{n}", n=n) for n in range(start, start + 10)))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.slow
async def test_several_processes_write_to_one_file(path):
    command = (sys.executable, "-c", PROCESS, str(path))
    running = [await asyncio.create_subprocess_exec(*command, name, cwd=HOUSE) for name in "ab"]
    assert [await asyncio.wait_for(process.wait(), 60) for process in running] == [0, 0]

    async with open_checkpoints(path) as saver:
        assert len([each async for each in saver.alist(None)]) == 200


@contextmanager
def stock(path: Path) -> Iterator[SqliteSaver]:
    """Open the file with the stock saver and our serializer."""
    with closing(sqlite3.connect(path)) as connection:
        yield SqliteSaver(connection, serde=StrictSerializer())


async def test_the_stock_saver_reads_what_is_written(path):
    async with open_checkpoints(path) as saver:
        first = await put(saver, "t", n=1)
        await saver.aput_writes(first, [("n", 2)], "task")
    with stock(path) as saver:
        found = saver.get_tuple(first)

    assert found.checkpoint["channel_values"] == {"n": 1}
    assert found.pending_writes == [("task", "n", 2)]


async def test_what_the_stock_saver_wrote_uncompressed_is_read_and_gone_on_with(path):
    path.parent.mkdir()
    text = "buy milk " * 1_000
    checkpoint = {**empty_checkpoint(), "channel_values": {"n": text}}
    with SqliteSaver.from_conn_string(str(path)) as saver:
        first = saver.put(at("t"), checkpoint, {"source": "loop", "step": 0}, {})
        saver.put_writes(first, [("n", text)], "task")
    async with open_checkpoints(path) as saver:
        found = await saver.aget_tuple(at("t"))
        assert found.checkpoint["channel_values"] == {"n": text}
        assert found.pending_writes == [("task", "n", text)]
        await saver.aput(first, {**empty_checkpoint(), "channel_values": {"n": text}}, {}, {})
        assert await values(saver, "t") == {"n": text}
    with closing(sqlite3.connect(path)) as database:
        lengths = [size for (size,) in database.execute("SELECT length(checkpoint) FROM checkpoints")]
    assert lengths[0] > len(text) > 5 * lengths[1]


async def test_a_channel_kept_in_deltas_is_rebuilt_as_the_stock_saver_does(path):
    held = [
        {"messages": "whole", "notes": ["plain"]},
        {"other": 1},
        {"other": "channel_versions, messages and notes, spelled out"},
        {"messages": {"channel_values": 0}},
        {"tail": "messages"},
        {},
    ]
    counted = {"messages": (1, 2), "notes": (1, 1)}
    described = [
        {},
        {"counters_since_delta_snapshot": counted, "source": "loop"},
        {"note": '"counters_since_delta_snapshot": {"messages": [', "counters_since_delta_snapshot": {}},
        {"counters_since_delta_snapshot": {"notes": (1, 1)}, "x": {"messages": [1]}},
        {"counters_since_delta_snapshot": counted},
        {"counters_since_delta_snapshot": counted},
    ]
    async with open_checkpoints(path) as saver:
        configs, parent = [], at("t")
        for number, channels in enumerate(held * 3):
            checkpoint = {
                **empty_checkpoint(),
                "channel_values": channels,
                "channel_versions": {"messages": number, "notes": 1},
            }
            parent = await saver.aput(parent, checkpoint, described[number % len(described)], {})
            configs.append(parent)
            await saver.aput_writes(parent, [("notes", number), ("messages", f"m{number}")], f"task{number}")
        found = []
        for config in [*configs, *configs, at("t")]:
            names = ["messages", "notes", "never"]
            found.append(await saver.aget_delta_channel_history(config=config, channels=names))
    with stock(path) as saver:
        expected = [
            saver.get_delta_channel_history(config=config, channels=names)
            for config in [*configs, *configs, at("t")]
        ]

    assert found == expected
    assert len(found[0]["messages"]["writes"]) == 0
    assert found[-2]["messages"]["seed"] == {"channel_values": 0}


@pytest.mark.parametrize("again", [None, "f", "b"], ids=["root", "loop", "loop within"])
async def test_a_lineage_is_followed_whatever_its_ids_and_past_what_stands_beside_it(path, again):
    async def kept(number, parent):
        checkpoint = {**empty_checkpoint(), "id": number, "channel_values": {}}
        place = await saver.aput(parent, checkpoint, {"source": "loop"}, {})
        await saver.aput_writes(place, [("messages", number), ("notes", number)], f"task {number}")
        return place

    async with open_checkpoints(path) as saver:
        places, parent = [], at("t")
        for number in "fbgkahic":
            await kept(f"{number} beside", parent)
            parent = await kept(number, parent)
            places.append(parent)
        lost = {"configurable": {**at("t")["configurable"], "checkpoint_id": "nowhere"}}
        places += [await kept("m", lost), lost]
        if again:
            await kept(again, parent)
        names = ["messages", "notes"]
        found = [await saver.aget_delta_channel_history(config=place, channels=names) for place in places]
    with stock(path) as saver:
        assert found == [saver.get_delta_channel_history(config=place, channels=names) for place in places]

    assert [value for _, _, value in found[7]["messages"]["writes"]][-3:] == ["a", "h", "i"]
