"""Sessions of the page, and failed sign-ins."""

import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, func, select

from base.users import digest_of
from ledger.ledger import Ledger
from ledger.tables import failed_sign_ins, matching, page_sessions, rows_of

LASTS_S = 30 * 86_400.0
"""Seconds until somebody has to sign in again."""
MOST_FAILURES = 20
"""Failed sign-ins from one place within `WINDOW_S`; after that it waits."""
WINDOW_S = 900.0
_SECRET_BYTES = 32


class SignIns:
    """Sessions and failures, for all processes; raises StorageError.

    What a cookie holds is stored as a digest, so that whoever reads the ledger signs in by none of it.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._access = ledger.access
        self._now = ledger.now

    async def begin(self, user: str, token_sha256: str) -> str:
        """Sign a user in; return what their cookie is to hold."""
        secret, now = secrets.token_urlsafe(_SECRET_BYTES), self._now()
        row = {"digest": digest_of(secret.encode()), "user": user, "token_sha256": token_sha256}
        await self._access.write("", _begin, {**row, "expires_at": now + LASTS_S}, now)
        return secret

    async def find(self, secret: str) -> Mapping[str, Any] | None:
        """Return `user` and `token_sha256` of a session; None: there is none now."""
        return await self._access.read(_find, digest_of(secret.encode()), self._now())

    async def end(self, secret: str) -> None:
        """End one session."""
        await self._access.write("", _end, {"digest": digest_of(secret.encode())})

    async def end_all(self, user: str) -> None:
        """End a user's sessions, wherever they are."""
        await self._access.write("", _end, {"user": user})

    async def attempt(self, source: str) -> tuple[float, int]:
        """Count an attempt from a place as failed, until it succeeds.

        Returns:
            The seconds until it may try again, and the attempt's number; of many at once, each is counted.
        """
        return await self._access.write(f"sign-in {source}", _attempt, source, self._now())

    async def succeed(self, attempt: int) -> None:
        """Note that an attempt did not fail."""
        await self._access.write("", _succeed, attempt)


def _begin(connection: Connection, row: Mapping[str, Any], now: float) -> None:
    connection.execute(delete(page_sessions).where(page_sessions.c.expires_at <= now))
    connection.execute(page_sessions.insert(), row)


def _find(connection: Connection, digest: str, now: float) -> Mapping[str, Any] | None:
    query = select(page_sessions).where(page_sessions.c.digest == digest, page_sessions.c.expires_at > now)
    return next(iter(rows_of(connection, query)), None)


def _end(connection: Connection, which: Mapping[str, str]) -> None:
    connection.execute(delete(page_sessions).where(*matching(page_sessions, which)))


def _attempt(connection: Connection, source: str, now: float) -> tuple[float, int]:
    connection.execute(delete(failed_sign_ins).where(failed_sign_ins.c.at <= now - WINDOW_S))
    if wait := _wait(connection, source, now):
        return wait, 0
    counted = connection.execute(failed_sign_ins.insert(), {"source": source, "at": now})
    return 0.0, int((counted.inserted_primary_key or (0,))[0])


def _succeed(connection: Connection, attempt: int) -> None:
    connection.execute(delete(failed_sign_ins).where(failed_sign_ins.c.id == attempt))


def _wait(connection: Connection, source: str, now: float) -> float:
    its = [failed_sign_ins.c.source == source, failed_sign_ins.c.at > now - WINDOW_S]
    if (connection.scalar(select(func.count()).where(*its)) or 0) < MOST_FAILURES:
        return 0.0
    newest = select(failed_sign_ins.c.at).where(*its).order_by(failed_sign_ins.c.at.desc())
    oldest = connection.scalar(newest.offset(MOST_FAILURES - 1).limit(1))
    return max(1.0, (oldest or now) + WINDOW_S - now)
