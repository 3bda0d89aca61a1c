"""Who holds a claim, and whether that process still lives."""

import os
import platform
import uuid
from pathlib import Path


def this_process() -> str:
    """Return `host/pid/start` of the running process, unique across machines, containers and reboots."""
    pid = os.getpid()
    return f"{_host()}/{pid}/{_started(pid)}"


def is_gone(owner: str) -> bool:
    """Tell whether an owner is certainly dead; other hosts' never are."""
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
