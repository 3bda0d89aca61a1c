"""Results as the ledger keeps them: in SQLite, whose columns take either, long ones compressed."""

import zlib

from sqlalchemy import Dialect

from base.errors import StorageError

_SHORTEST, _LONGEST = 200, 1_000_000
"""Bytes of what is compressed."""
_LEVEL = 3
_DAMAGED = "The ledger is damaged: a result in it cannot be read. Put back a copy of the ledger."


def packed(dialect: Dialect, text: str) -> str | bytes:
    """Return what is stored of a text."""
    content = text.encode()
    if dialect.name != "sqlite" or not _SHORTEST <= len(content) <= _LONGEST:
        return text
    small = zlib.compress(content, _LEVEL)
    return small if len(small) < len(content) else text


def unpacked(stored: str | bytes | None) -> str:
    """Return the text of what is stored; empty where there is none.

    Raises:
        StorageError: it is no text that was stored here.
    """
    if not isinstance(stored, bytes):
        return stored or ""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(stored, _LONGEST + 1).decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise StorageError(_DAMAGED) from error
    if not unpacker.eof:  # it is cut short, or unpacks to more than is ever stored
        raise StorageError(_DAMAGED)
    return text
