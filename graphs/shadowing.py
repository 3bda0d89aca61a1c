"""Packages of other distributions that hide ours, such as a `tools`."""

from importlib.util import find_spec
from pathlib import Path

from base.errors import ShadowedPackageError

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "terminal",
    "channels",
    "doctor",
    "graphs",
    "nodes",
    "tools",
    "models",
    "schedules",
    "ledger",
    "storage",
    "base",
)


def check_shadowing() -> None:
    """Check that each top-level name of ours resolves to this checkout.

    Raises:
        ShadowedPackageError: one does not; the message names the intruder.
    """
    for name in PACKAGES:
        spec = find_spec(name)
        if spec is None:
            raise ShadowedPackageError(f"{name!r} is missing from {str(CHECKOUT)!r}: it is incomplete.")
        found = Path(spec.origin or next(iter(spec.submodule_search_locations or ()), "")).resolve()
        if not found.is_relative_to(CHECKOUT / name):
            raise ShadowedPackageError(
                f"{name!r} resolves to {str(found)!r}, which hides {str(CHECKOUT / name)!r}. Uninstall the "
                "distribution that brings it, or take its directory off PYTHONPATH."
            )
