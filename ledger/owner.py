"""Who holds a claim, and whether that process still lives."""

import os
import platform
import uuid
from pathlib import Path

from sqlalchemy import Connection, text

from storage.postgres.lock_keys import key_of

_GRACE_S = 30.0
"""After Postgres began: whoever lives has come back by then."""
_GONE = text(
    "SELECT CASE WHEN now() - pg_postmaster_start_time() > make_interval(secs => :grace) "
    "THEN pg_try_advisory_xact_lock(CAST(:key AS bigint)) ELSE false END"
)


def this_process() -> str:
    """Return `host/pid/start` of the running process, unique across machines, containers and reboots."""
    pid = os.getpid()
    return f"{_host()}/{pid}/{_started(pid)}"


def presence_of(owner: str) -> str:
    """Return the name under which a process says that it lives."""
    return f"process {owner}"


def is_gone(connection: Connection, owner: str) -> bool:
    """Tell whether an owner is dead, as far as can be told.

    Of another host's, Postgres knows: it has a lock for as long as it is connected. Where the database itself
    was away just now, nobody's is missed.
    """
    if owner.rsplit("/", 2)[0] == _host():
        return is_certainly_gone(owner)
    if connection.dialect.name != "postgresql":
        return False
    return bool(connection.scalar(_GONE, {"key": key_of(presence_of(owner)), "grace": _GRACE_S}))


def is_certainly_gone(owner: str) -> bool:
    """Tell whether an owner is a dead process of this host."""
    host, pid, started = owner.rsplit("/", 2)
    if host != _host():
        return False
    now = _started(int(pid))
    return now is None or now not in {"", started}


def _host() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # Containers share the boot but not the process ids: another's living 17 is nobody here.
        return f"{boot}:{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{platform.node()}:{uuid.getnode():x}"


def _started(pid: int) -> str | None:
    """Return a process's start tick; empty: not known; None: dead."""
    if os.name != "posix":
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The name in brackets may hold spaces and brackets; state and start time come after it.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else fields[19]
