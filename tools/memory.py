"""What a person asked to be remembered: their own notes, across conversations."""

import hashlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal, TypeGuard

from base.redaction import Redact
from base.texts import FILLERS, is_blank, one_line, terms_of, visible
from base.worker_threads import in_thread
from ledger.ledger import Ledger
from ledger.threads import ThreadOrigin, origins_of
from tools.declaration import WHY_NOT, Here, ToolFailure, Undo, Untrusted, tool

_LONGEST_MEMORY = 4_000
"""Characters of a memory."""
_RECALLED = 20
_PAGE_MEMORIES = 200
_ID_LENGTH = 8
_TITLE_WIDTH = 60
_THREAD_CHARS = 8
"""Of a thread's id, as the terminal shows it."""
_LEAST_ALIKE = 0.5
"""Of the words of two memories, from how many shared on one may correct the other."""
_SHOWN_ALIKE = 3
Writer = Literal["assistant", "person", "client", "file"]
"""Who wrote a memory: the tool, its person's own hand, a client of the server's store, an imported file."""
_SMOOTHING = 60
"""Of reciprocal rank fusion, as its paper has it (Cormack, Clarke and Büttcher, 2009)."""
_BY_WORDS_ALONE = "(Found by words alone: the embedding model did not answer, and the log says why.)"
_BY = {"person": "written by hand", "client": "from a client of the server", "file": "from an imported file"}
_NO_MEMORY = "an entry that holds no memory"
_UNTRUSTED = "untrusted"
_PROVENANCE = {"by", "at", "thread", "sources", _UNTRUSTED}
"""Keys of what stands beside a memory's text. One of old has the mark alone, at most."""
_LATEST = 253_402_300_800.0
"""Unix seconds: the year 10000."""
_log = logging.getLogger(__name__)


async def _preview_forget(here: Here, id: str) -> str:  # noqa: A002 (the argument that a model fills in)
    return f"Forget: {text_of(await _find(here, id)) or _NO_MEMORY}"


async def _is_gone(here: Here, id: str) -> bool | None:  # noqa: A002
    return True if await _store(here).aget(place_of(here.user), _key(id)) is None else None


async def _log_undo(here: Here, key: str, after: dict[str, Any] | None, *, first: bool = False) -> None:
    """Log what an entry holds before it is changed."""
    before = await _value(here, key)
    state = {"key": key, "before": before, "after": after}
    if _is_same(before, after):
        state = {WHY_NOT: "It was remembered already, so nothing was changed."}
    await in_thread(partial(here.log_undo, state, first=first))


async def _value(here: Here, key: str) -> dict[str, Any] | None:
    item = await _store(here).aget(place_of(here.user), key)
    return item.value if item else None


async def _check_as_left(here: Here, record: dict[str, Any]) -> None:
    if not _is_same(await _value(here, record["key"]), record["after"]):
        raise ToolFailure(f"The memory {record['key']!r} has been changed since, so it stays as it is.")


async def _preview_undo(here: Here, record: dict[str, Any]) -> str:
    await _check_as_left(here, record)
    was = record["after"] if record["before"] is None else record["before"]
    what = "Forget" if record["before"] is None else "Remember again"
    return f"{what}: {was.get('text') or _NO_MEMORY}"


async def _undo(here: Here, record: dict[str, Any]) -> str:
    await _check_as_left(here, record)
    if record["before"] is None:
        await _store(here).adelete(place_of(here.user), record["key"])
        return f"Forgot [{record['key']}]."
    await _put(_store(here), here.user, record["key"], record["before"], here.settings.redact)
    return f"Remembered again as [{record['key']}]."


async def _is_undone(here: Here, record: dict[str, Any]) -> bool | None:
    return True if _is_same(await _value(here, record["key"]), record["before"]) else None


def _is_same(one: dict[str, Any] | None, other: dict[str, Any] | None) -> bool:
    """Tell whether two are alike but for the time.

    Run again after a crash, a call makes a memory at another time.
    """
    return {**(one or {}), "at": None} == {**(other or {}), "at": None}


_AS_BEFORE = Undo(_preview_undo, _undo, _is_undone)


# Unasked: it only adds to the person's own notes, and forget or an undo takes it back.
@tool(effect="write", confirm=False, idempotent=True, undo=_AS_BEFORE)
async def remember(here: Here, text: Annotated[str, "what to remember, complete in itself"]) -> str:
    """Remember something for the person, in this and every later conversation."""
    key, memory = _memory(text, "assistant", thread=here.thread_id, sources=sorted(here.sources))
    before, (items, _) = await _value(here, key), await memories_of(_store(here), here.user)
    if before and before.get("text") == memory["text"] and _is_marked(before) == _is_marked(memory):
        memory = before  # told again, it is the first one
    await _log_undo(here, key, memory, first=True)
    await _put(_store(here), here.user, key, memory, here.settings.redact)
    told = f"Remembered as [{key}]: {text.strip()}"
    alike = _alike([item for item in items if item.key != key], text)
    if not alike:
        return told
    beside = "Remembered before, and alike; where the new one corrects one of these, forget that:"
    return _marked("\n".join([told, beside, *_lines(here, alike)]), alike)


# A memory is as trusted as the turn that it was made in.
@tool(effect="read")
async def recall(
    here: Here, query: Annotated[str, "what it is about; empty for the latest memories"] = ""
) -> str:
    """Look up what the person asked to be remembered, each with its id.

    Of two that contradict each other, the later one holds.
    """
    nearest = await _by_meaning(here, query)
    items, junk = await memories_of(_store(here), here.user)
    found = _merged(nearest or [], _by_words(items, query))
    lines = _lines(here, found[:_RECALLED])
    if not found:
        lines = [f"Nothing is remembered about {query!r}." if query.strip() else "Nothing is remembered yet."]
    elif len(found) > _RECALLED:
        lines.append(f"… and {len(found) - _RECALLED:,} more; look for something narrower.")
    if junk:
        lines.append(f"(Left out, as the store holds no memory there: {junk:,}.)")
    return _marked("\n".join(lines if nearest is not None else [*lines, _BY_WORDS_ALONE]), found[:_RECALLED])


# Not run again unasked: the memory may have been made anew since.
@tool(
    effect="write",
    preview=_preview_forget,
    verify=_is_gone,
    undo=_AS_BEFORE,
    canonical=lambda args: {**args, "id": _key(args["id"])},
)
async def forget(here: Here, id: Annotated[str, "id of the memory, as recall shows it"]) -> str:  # noqa: A002
    """Forget one memory."""
    item = await _find(here, id)
    await _log_undo(here, item.key, None)
    await _store(here).adelete(place_of(here.user), item.key)
    return _marked(f"Forgot: {text_of(item) or _NO_MEMORY}", [item])


def _lines(here: Here, items: Sequence[Any]) -> list[str]:
    """Return memories as a model reads them.

    Without their conversations' titles: whoever names a file that is sent can write one.
    """
    zone = here.settings.zone(here.user)

    def line(item: Any) -> str:
        row, thread = as_row(item, here.user, {}), visible(str(item.value.get("thread") or ""))
        day = f"{datetime.fromtimestamp(row['created_at'], zone):%Y-%m-%d}"
        beside = [day, f"thread {thread[:_THREAD_CHARS]}" if thread else "", row["from"]]
        return f"[{row['id']}] {visible(row['text'])} ({', '.join(filter(None, beside))})"

    return [line(item) for item in items]


async def memory_rows(store: Any, ledger: Ledger, user: str) -> list[dict[str, Any]]:
    """Return a user's memories, the latest first, as `as_row` has them."""
    items, _ = await memories_of(store, user)
    threads = {str(item.value.get("thread") or "") for item in items}
    origins = await ledger.access.read(origins_of, user, threads)
    return [as_row(item, user, origins) for item in items]


def as_row(item: Any, user: str, origins: Mapping[str, ThreadOrigin]) -> dict[str, Any]:
    """Return a memory with who, when, from where, and after which sources.

    `by` is a `Writer`, "" where nobody knows; `from` says it in words. Of a
    conversation that is gone there is neither title nor channel.
    """
    value = item.value
    thread, sources = str(value.get("thread") or ""), value.get("sources")
    origin = origins.get(thread)
    row = {
        "id": item.key,
        "user": user,
        "text": text_of(item) or "",
        "created_at": _made_at(item),
        "by": str(value.get("by") or ""),
        "thread": thread if origin else "",
        "title": origin.title if origin else "",
        "channel": origin.channel if origin else "",
        "untrusted": _is_marked(value),
        "sources": [str(each) for each in sources] if isinstance(sources, list) else [],
    }
    return {**row, "from": _origin_words(row)}


def _origin_words(row: Mapping[str, Any]) -> str:
    """Return where a memory comes from, and its mark, in words."""
    title = visible(one_line(row["title"], _TITLE_WIDTH))
    where = _BY.get(row["by"]) or (f"in “{title}”" if title else "")
    by = f"by {row['channel']}" if row["channel"] else ""
    after = f", after {visible(', '.join(row['sources']))}" if row["sources"] else ""
    return ", ".join(filter(None, [where, by, f"untrusted{after}" if row["untrusted"] else ""]))


def _made_at(item: Any) -> float:
    """Return when a memory was made, in Unix seconds."""
    at = item.value.get("at")
    if _is_time(at):
        return float(at)
    made: datetime = item.created_at
    return (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp()


def _is_time(at: Any) -> TypeGuard[float]:
    return isinstance(at, int | float) and not isinstance(at, bool) and 0 <= at < _LATEST


def _is_marked(value: Mapping[str, Any]) -> bool:
    """Tell whether a memory is untrusted: unless it says plainly that not."""
    return value.get(_UNTRUSTED, False) is not False


def _marked(told: str, items: Iterable[Any]) -> str:
    """Return what is told of memories, untrusted where one of them is."""
    return Untrusted(told) if any(_is_marked(item.value) for item in items) else told


def _store(here: Here) -> Any:
    if here.store is None:
        raise ToolFailure("Nothing can be remembered or recalled: the graph was compiled without a store.")
    return here.store


def place_of(user: str) -> tuple[str, str]:
    """Return a person's own namespace; a store allows no dot in it."""
    return "memories", user.replace("%", "%25").replace(".", "%2E")


async def write_memory(store: Any, user: str, text: str, redact: Redact, *, instead: str = "") -> str:
    """Store what a user wrote by hand, trusted; return its id.

    `instead` is the id of a memory that it takes the place of.

    Raises:
        ToolFailure: the text is empty or too long.
    """
    before = await store.aget(place_of(user), instead) if instead else None
    key, memory = _memory(text, "person", thread=str(before.value.get("thread") or "") if before else "")
    await _put(store, user, key, memory, redact)
    if instead and instead != key:
        await store.adelete(place_of(user), instead)
    return key


async def import_memory(
    store: Any, user: str, given: Mapping[str, Any], redact: Redact, *, is_trusted: bool
) -> bool:
    """Store one row of an export; False: it is remembered already.

    Anybody can write a file: it is marked untrusted, unless the file `is_trusted` and does not say so.

    Raises:
        ToolFailure: it is no memory.
    """
    text, at = given.get("text"), given.get("created_at")
    if not isinstance(text, str):
        raise ToolFailure("It has no text.")
    key, memory = _memory(text, "file", is_untrusted=not is_trusted or _is_marked(given))
    if _is_time(at):
        memory["at"] = float(at)
    if await store.aget(place_of(user), key) is not None:
        return False
    await _put(store, user, key, memory, redact)
    return True


def from_client(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a client of the server's store wrote, as a memory.

    It may have read anything, and says of itself what it likes.
    """
    said = {name: each for name, each in value.items() if name not in _PROVENANCE}
    return {**said, "by": "client", "at": time.time(), _UNTRUSTED: True}


def _memory(
    text: str, by: Writer, *, thread: str = "", sources: Sequence[str] = (), is_untrusted: bool = False
) -> tuple[str, dict[str, Any]]:
    """Return a memory's id and what is stored. Raises as `write_memory`.

    Named after its text, one that is told twice, or again after a crash, is still one.
    """
    text = text.strip()
    if is_blank(text):
        raise ToolFailure("There is nothing to remember: the text is empty.")
    if len(text) > _LONGEST_MEMORY:
        raise ToolFailure(f"That is longer than {_LONGEST_MEMORY:,} characters; write it to a file instead.")
    key = hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]
    memory = {"text": text, "by": by, "at": time.time(), "thread": thread}
    return key, {
        **memory,
        **({_UNTRUSTED: True, "sources": list(sources)} if sources or is_untrusted else {}),
    }


async def _put(store: Any, user: str, key: str, memory: dict[str, Any], redact: Redact) -> None:
    place = place_of(user)
    try:
        await store.aput(place, key, memory)
    except Exception as error:  # a server's store asks its embedding model first, which may be away
        _log.warning("a memory could not be placed by meaning: %s", redact(repr(error)))
        await store.aput(place, key, memory, index=False)


async def _find(here: Here, key: str) -> Any:
    item = await _store(here).aget(place_of(here.user), _key(key))
    if item is None:
        raise ToolFailure(f"There is no memory {key!r}; recall shows the ids of those there are.")
    return item


def _key(id: str) -> str:  # noqa: A002
    return id.strip().strip("[]")


async def memories_of(store: Any, user: str) -> tuple[list[Any], int]:
    """Return all memories, the latest first, and how many entries are none."""
    found: list[Any] = []
    while page := await _page(store, user, len(found), _PAGE_MEMORIES):
        found += page
    items = [item for item in found if item is not None and text_of(item) is not None]
    return sorted(items, key=_made_at, reverse=True), len(found) - len(items)


async def _page(store: Any, user: str, offset: int, size: int) -> list[Any]:
    """Return entries of the store; None for each that is damaged."""
    try:
        return list(await store.asearch(place_of(user), limit=size, offset=offset))
    except ValueError:  # one of them is no JSON, and costs all that are read with it
        if size == 1:
            return [None]
    half = size // 2
    first = await _page(store, user, offset, half)
    return first if len(first) < half else [*first, *await _page(store, user, offset + half, size - half)]


def text_of(item: Any) -> str | None:
    """Return a memory's text; None: somebody else put something else there."""
    text = item.value.get("text") if isinstance(item.value, dict) else None
    return text if isinstance(text, str) else None


async def _by_meaning(here: Here, query: str) -> list[Any] | None:
    """Return the nearest memories, best first; None where the search failed."""
    if not query.strip():
        return []
    store, place = _store(here), place_of(here.user)
    try:
        found = await store.asearch(place, query=query, limit=_RECALLED)
    except Exception as error:  # an embedding model that is away: what is remembered is there all the same
        _log.warning("memories could not be found by meaning: %s", here.settings.redact(repr(error)))
        return None
    return [item for item in found if item.score is not None and text_of(item) is not None]


def _by_words(items: Iterable[Any], query: str) -> list[Any]:
    wanted = terms_of(query, sought=True)
    telling = wanted - FILLERS or wanted
    if not telling:
        return list(items)
    shared = [(len(telling & terms_of(text_of(item) or "")), item) for item in items]
    return [item for count, item in sorted(shared, key=lambda pair: -pair[0]) if count]


def _alike(items: Iterable[Any], text: str) -> list[Any]:
    """Return memories that share so many words that one may correct another."""
    words = terms_of(text) - FILLERS

    def shared(item: Any) -> float:
        its = terms_of(text_of(item) or "") - FILLERS
        return len(words & its) / (len(words | its) or 1)

    weighed = [(share, item) for item in items if (share := shared(item)) >= _LEAST_ALIKE]
    return [item for _, item in sorted(weighed, key=lambda pair: -pair[0])[:_SHOWN_ALIKE]]


def _merged(*rankings: Sequence[Any]) -> list[Any]:
    """Return what several searches found, by reciprocal rank fusion."""
    items = {item.key: item for ranking in rankings for item in ranking}
    weights = dict.fromkeys(items, 0.0)
    for ranking in rankings:
        for rank, item in enumerate(ranking):
            weights[item.key] += 1 / (_SMOOTHING + rank)
    return sorted(items.values(), key=lambda item: -weights[item.key])


TOOLS = (remember, recall, forget)
