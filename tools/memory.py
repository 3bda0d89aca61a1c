"""What a person asked to be remembered: their own notes, across conversations."""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated, Any

from base.redaction import Redact
from base.texts import FILLERS, is_blank, terms_of, visible
from base.worker_threads import in_thread
from tools.declaration import WHY_NOT, Here, ToolFailure, Undo, Untrusted, tool

_LONGEST = 4_000
"""Characters of a memory."""
_SHOWN = 20
_PAGE = 200
_ID_LENGTH = 8
UNTRUSTED = "untrusted"
"""Key of a memory that was made after untrusted content."""
_SMOOTHING = 60
"""Of reciprocal rank fusion, as its paper has it (Cormack, Clarke and Büttcher, 2009)."""
_BY_WORDS_ALONE = "(Found by words alone: the embedding model did not answer, and the log says why.)"
_NO_MEMORY = "an entry that holds no memory"
_log = logging.getLogger(__name__)


async def _preview_forget(here: Here, id: str) -> str:  # noqa: A002 (the argument that a model fills in)
    return f"Forget: {text_of(await _find(here, id)) or _NO_MEMORY}"


async def _is_gone(here: Here, id: str) -> bool | None:  # noqa: A002
    return True if await _store(here).aget(place_of(here.user), _key(id)) is None else None


async def _log_undo(here: Here, key: str, after: dict[str, Any] | None, *, first: bool = False) -> None:
    """Log what an entry holds before it is changed."""
    before = await _value(here, key)
    state = {"key": key, "before": before, "after": after}
    if before == after:
        state = {WHY_NOT: "It was remembered already, so nothing was changed."}
    await in_thread(partial(here.log_undo, state, first=first))


async def _value(here: Here, key: str) -> dict[str, Any] | None:
    item = await _store(here).aget(place_of(here.user), key)
    return item.value if item else None


async def _check_as_left(here: Here, record: dict[str, Any]) -> None:
    if await _value(here, record["key"]) != record["after"]:
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
    return True if await _value(here, record["key"]) == record["before"] else None


_AS_BEFORE = Undo(_preview_undo, _undo, _is_undone)


# Unasked: it only adds to the person's own notes, and forget or an undo takes it back.
@tool(effect="write", confirm=False, idempotent=True, undo=_AS_BEFORE)
async def remember(here: Here, text: Annotated[str, "what to remember, complete in itself"]) -> str:
    """Remember something for the person, in this and every later conversation."""
    key, memory = _memory(text, untrusted=here.tainted)
    await _log_undo(here, key, memory, first=True)
    await _put(_store(here), here.user, key, memory, here.settings.redact)
    return f"Remembered as [{key}]: {text.strip()}"


# A memory is as trusted as the turn that it was made in.
@tool(effect="read")
async def recall(
    here: Here, query: Annotated[str, "what it is about; empty for the latest memories"] = ""
) -> str:
    """Look up what the person asked to be remembered, each with its id."""
    nearest = await _by_meaning(here, query)
    items, junk = await memories_of(_store(here), here.user)
    found = _merged(nearest or [], _by_words(items, query))
    lines = [
        f"[{item.key}] {visible(text_of(item) or '')} ({item.created_at:%Y-%m-%d})" for item in found[:_SHOWN]
    ]
    if not found:
        lines = [f"Nothing is remembered about {query!r}." if query.strip() else "Nothing is remembered yet."]
    elif len(found) > _SHOWN:
        lines.append(f"… and {len(found) - _SHOWN:,} more; look for something narrower.")
    if junk:
        lines.append(f"(Left out, as the store holds no memory there: {junk:,}.)")
    return _marked("\n".join(lines if nearest is not None else [*lines, _BY_WORDS_ALONE]), found[:_SHOWN])


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


def _marked(told: str, items: Iterable[Any]) -> str:
    """Return what is told of memories, untrusted where one of them is."""
    return Untrusted(told) if any(item.value.get(UNTRUSTED) for item in items) else told


def _store(here: Here) -> Any:
    if here.store is None:
        raise ToolFailure("Nothing can be remembered or recalled: the graph was compiled without a store.")
    return here.store


def place_of(user: str) -> tuple[str, str]:
    """Return a person's own namespace; a store allows no dot in it."""
    return "memories", user.replace("%", "%25").replace(".", "%2E")


async def put_memory(store: Any, user: str, text: str, redact: Redact, *, untrusted: bool) -> str:
    """Store a memory of a user; return its id.

    Named after its text, one that is told twice, or again after a crash, is still one.

    Raises:
        ToolFailure: the text is empty or too long.
    """
    key, memory = _memory(text, untrusted=untrusted)
    await _put(store, user, key, memory, redact)
    return key


def _memory(text: str, *, untrusted: bool) -> tuple[str, dict[str, Any]]:
    """Return a memory's id and what is stored. Raises as `put_memory`."""
    text = text.strip()
    if is_blank(text):
        raise ToolFailure("There is nothing to remember: the text is empty.")
    if len(text) > _LONGEST:
        raise ToolFailure(f"That is longer than {_LONGEST:,} characters; write it to a file instead.")
    key = hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]
    return key, {"text": text, **({UNTRUSTED: True} if untrusted else {})}


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
    while page := await _page(store, user, len(found), _PAGE):
        found += page
    items = [item for item in found if item is not None and text_of(item) is not None]
    return sorted(items, key=lambda item: item.created_at, reverse=True), len(found) - len(items)


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
        found = await store.asearch(place, query=query, limit=_SHOWN)
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


def _merged(*rankings: Sequence[Any]) -> list[Any]:
    """Return what several searches found, by reciprocal rank fusion."""
    items = {item.key: item for ranking in rankings for item in ranking}
    weights = dict.fromkeys(items, 0.0)
    for ranking in rankings:
        for rank, item in enumerate(ranking):
            weights[item.key] += 1 / (_SMOOTHING + rank)
    return sorted(items.values(), key=lambda item: -weights[item.key])


TOOLS = (remember, recall, forget)
