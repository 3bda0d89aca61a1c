"""A small MCP server over pipes, of the standard library alone: `plain_server.py FOLDER`.

It offers what FOLDER/tools.json defines, echoes each call, and notes what it does, as `mcp_server.py`; that
one is built with the official package, which takes a second to import.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])


def note(file: str, text: str) -> None:
    with (FOLDER / file).open("a") as lines:
        lines.write(f"{text}\n")


UNLOCKED: list[dict[str, Any]] = []
"""Tools that this session has opened up."""


def say(**message: Any) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)  # noqa: T201 (what it says is the protocol)


def answer(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """Return a request's result; None where there is never to be one."""
    if method == "initialize":
        named = {"name": "plain", "version": "1"}
        version = params["protocolVersion"]
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": named}
    if method == "tools/list":
        note("listed", str(os.getpid()))
        tools = json.loads((FOLDER / "tools.json").read_text()) + UNLOCKED
        if (FOLDER / "says_so_always").exists():
            say(method="notifications/tools/list_changed")
        return None if (FOLDER / "never_list").exists() else {"tools": tools}
    if method == "tools/call":
        name, args = params["name"], json.dumps(params.get("arguments") or {})
        note("called", f"{name} {args}")
        if (results := FOLDER / "results.json").exists():
            told: dict[str, Any] = json.loads(results.read_text())[name]
            return told
        if name == "unlock":
            UNLOCKED.append({"name": "vault", "inputSchema": {"type": "object"}})
            say(method="notifications/tools/list_changed")
        return {"content": [{"type": "text", "text": f"{name}: {args}"}], "isError": False}
    return {}


def main() -> None:
    note("pids", str(os.getpid()))
    if (FOLDER / "child").exists():
        child = subprocess.Popen(["sleep", "600"])  # outlives its parent unless somebody ends the group
        note("pids", str(child.pid))
    if (FOLDER / "stubborn").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for _ in itertools.repeat(None):
            signal.pause()
    sys.stderr.write("ready\n")
    print("a banner that is no message", flush=True)  # noqa: T201 (what it says is the protocol)
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["method"] == "tools/call" and (odd := FOLDER / "odd").exists():
            print(odd.read_text().replace('"ID"', json.dumps(asked["id"])), flush=True)  # noqa: T201 (as above)
            continue
        if "id" in asked and (result := answer(asked["method"], asked.get("params") or {})) is not None:
            say(id=asked["id"], result=result)


if __name__ == "__main__":
    main()
