"""Is every name of ours still ours? An installed distribution may ship a top-level `tools` of its own."""

from importlib.util import find_spec
from pathlib import Path

from base.errors import ShadowedPackageError

HOUSE = Path(__file__).resolve().parent.parent
OURS = ("terminal", "doctor", "graphs", "nodes", "tools", "models", "ledger", "storage", "base")


def check_house() -> None:
    """Check that each top-level name of ours resolves to a file of this house.

    Raises:
        ShadowedPackageError: one does not; the message names the intruder.
    """
    for name in OURS:
        place = _place(name)
        if not place.is_relative_to(HOUSE / name) and place != HOUSE / f"{name}.py":
            raise ShadowedPackageError(
                f"{name!r} resolves to {str(place)!r}, which hides {str(HOUSE / name)!r}. Uninstall the "
                "distribution that brings it, or take its directory off PYTHONPATH."
            )


def _place(name: str) -> Path:
    spec = find_spec(name)
    if spec is None:
        raise ShadowedPackageError(f"{name!r} is missing from {str(HOUSE)!r}: this checkout is incomplete.")
    found = spec.origin or next(iter(spec.submodule_search_locations or ()), "")
    return Path(found).resolve()
