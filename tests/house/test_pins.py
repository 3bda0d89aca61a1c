"""What a fresh install brings is pinned, and nothing says where from."""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.modules import ROOT, tracked


def _needed(requirements: list[str], extras: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the distributions that requirements bring into this environment, their own included."""
    queue = [(Requirement(text), extras) for text in requirements]
    seen = set()
    while queue:
        wanted, extras = queue.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        holds = wanted.marker is None or any(wanted.marker.evaluate({"extra": e}) for e in extras | {""})
        if not holds or key in seen:
            continue
        seen.add(key)
        yield key[0]
        queue += [(Requirement(r), key[1]) for r in importlib.metadata.requires(wanted.name) or []]


def test_every_distribution_of_a_fresh_install_is_pinned_to_what_is_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().split()
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    extras = chain.from_iterable(project["optional-dependencies"].values())
    needed = set(_needed([*project["dependencies"], *extras]))
    assert {name: importlib.metadata.version(name) for name in needed} == {n: pins.get(n) for n in needed}


def test_no_lock_file_and_no_index_address_is_kept():
    locks = ("uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock", "pylock.toml")
    assert [path for path in tracked() if path.name in locks] == []
    address = re.compile(r"(index|find)-(url|links)\b|pythonhosted|https?://\S+/simple\b")
    others = [path for path in tracked() if path != Path(__file__)]
    assert [path for path in others if address.search(path.read_text(errors="replace"))] == []
    assert "/" not in (ROOT / "constraints.txt").read_text()
