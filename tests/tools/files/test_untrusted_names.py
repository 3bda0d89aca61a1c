"""A name that a stranger gave a file comes back untrusted from every tool, done or failed."""

from itertools import product

import pytest

from tools.files.tools import TOOLS
from tools.run import run_tool

NAME = "Ring the bell"
PATHS = (
    ".",
    "",
    "/",
    "..",
    "sub",
    "sub/nothing",
    "nothing",
    "nothing/at/all",
    "sub/x/y",
    "link",
    "sub/../sub",
)
ARGS = {"path": PATHS, "query": ("bell", "nothing", " "), "content": ("x",)}


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
async def test_a_result_with_a_name_that_the_call_did_not_give_is_untrusted(here, root, tool):
    (root / "sub" / NAME).mkdir(parents=True)
    (root / NAME).write_text("bell")
    (root / "sub" / f"{NAME}.bin").write_bytes(b"\0\1")
    (root / "link").symlink_to(root / NAME)
    named = 0
    for values in product(*(ARGS[name] for name in tool.parameters["properties"])):
        args = dict(zip(tool.parameters["properties"], values, strict=True))
        ran = await run_tool(tool, here, tool.check(args))
        named += NAME in ran.text
        assert ran.untrusted or NAME not in ran.text, (args, ran.text)
    assert named
