"""What callers hand in, made fit for files that hold nothing but Unicode."""

import json
from typing import Any

from base.errors import BadThreadError

_LONGEST_THREAD = 255
"""Characters."""


def check_thread(thread_id: str) -> None:
    """Check that a thread may have this id.

    Raises:
        BadThreadError: it is empty, too long, or not text.
    """
    if not thread_id.strip():
        raise BadThreadError("The thread's id is empty. Name a thread, or none to begin a new one.")
    if len(thread_id) > _LONGEST_THREAD:
        raise BadThreadError(
            f"The thread's id has {len(thread_id):,} characters; at most {_LONGEST_THREAD} are accepted."
        )
    if mended(thread_id) != thread_id:
        raise BadThreadError(
            f"The thread's id {thread_id!r} holds bytes that are no text in UTF-8. "
            "`twobrain threads` lists the ids there are."
        )


def mended(text: str) -> str:
    """Return the text with each lone surrogate, which is half a character, as the mark U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def as_text(answer: Any) -> str:
    """Return an answer as JSON, which is understood as the answer itself.

    LangGraph drops None and {}, takes some objects for its own, and has no room for large integers.
    """
    try:
        return mended(json.dumps(answer, default=repr, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):
        return ""
