"""What others make large takes time in proportion to its size, and no check of it holds the event loop."""

import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from base.settings import load_settings
from tools.clock import get_time
from tools.mcp.servers import Servers
from tools.registry import Registry, open_registry
from tools.run import run_tool

DECADE, SLACK, FLOOR_S = 10, 2.5, 0.05
SERVER = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    params = asked.get("params") or {}
    if asked["method"] == "initialize":
        named = {"name": "flood", "version": "1"}
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {}, "serverInfo": named}
    elif asked["method"] == "tools/list":
        result = {"tools": [{"name": "flood", "inputSchema": {"type": "object"}}]}
    else:
        result = {"content": [{"type": "text", "text": "x"}] * params.get("arguments", {}).get("parts", 0)}
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


async def taken(work: Callable[[int], Awaitable[object]], sizes: tuple[int, ...]) -> list[float]:
    """Return the CPU seconds of this process for each size, the least of three."""
    found = []
    for size in sizes:
        times = []
        for _ in range(3):
            began = time.process_time()
            await work(size)
            times.append(time.process_time() - began)
        found.append(min(times))
    return found


def is_linear(times: list[float]) -> bool:
    return all(after <= DECADE * SLACK * max(before, FLOOR_S / DECADE) for before, after in pairwise(times))


@pytest.mark.parametrize("name", ["list_files", "search_files", "read_file"])
@pytest.mark.slow
async def test_a_folder_takes_time_in_proportion_to_its_files(here, root, name):
    tool = open_registry(here.settings).get(name)
    sizes = (50, 500, 5_000)
    for size in sizes:
        (root / str(size)).mkdir(parents=True)
        for number in range(size):
            (root / str(size) / f"{number}.txt").touch()

    async def work(size: int) -> None:
        args = {"path": f"{size}/none.txt" if name == "read_file" else str(size)}
        await run_tool(tool, here, {**args, "query": "milk"} if name == "search_files" else args)

    assert is_linear(times := await taken(work, sizes)), times


async def test_a_servers_result_takes_time_in_proportion_to_its_parts(here, tmp_path: Path):
    (tmp_path / "server.py").write_text(SERVER)
    config = tmp_path / "twobrain.toml"
    command = (
        f'command = "{sys.executable}"\nargs = ["-ISu", "{tmp_path}/server.py"]\nconnect_timeout_s = 60\n'
    )
    config.write_text(f"[mcp.servers.s]\n{command}")
    settings = load_settings({"TWOBRAIN_CONFIG": str(config), "TWOBRAIN_DATA_DIR": str(tmp_path / "data")})
    servers = Servers(settings)
    try:
        tool = (await servers.join(Registry([get_time]), "local")).get("s_flood")

        async def work(parts: int) -> None:
            ran = await run_tool(tool, replace(here, settings=settings), {"parts": parts})
            assert ran.status == "executed"

        times = await taken(work, (130, 1_300, 13_000))
        there = replace(here, settings=settings)
        flooded = await run_tool(tool, there, {"parts": 14_000})
        assert "broke off" in flooded.text
        assert (await run_tool(tool, there, {"parts": 1})).text == "x"
    finally:
        await servers.close()
    assert is_linear(times), times
    assert times[-1] < 0.3, "40 μs a part would be a check of each on the event loop"
