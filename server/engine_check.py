"""Which engine serves, and whether it asks our handlers who somebody is.

An engine that does not find the file that langgraph.json names, or is told of none, lets everybody in.
"""

import sys
from importlib import import_module

from langgraph_sdk import Auth

from base.errors import ConfigurationError

_ENGINES = {"langgraph_api": "langgraph_api.auth.custom", "aegra_api": "aegra_api.core.auth_middleware"}
"""Their packages, and where each has a `get_auth_instance`."""


class TokenAuth(Auth):
    """Handlers of ours, known as such by whoever loaded them."""


def check_engine() -> None:
    """Check that this process's engine uses our handlers.

    Raises:
        ConfigurationError: it does not, and would let everybody in.
    """
    serving = [place for package, place in _ENGINES.items() if package in sys.modules]
    if not serving:
        raise ConfigurationError(
            f"It is not known whether this engine asks for tokens. Serve with one of {', '.join(_ENGINES)}."
        )
    for place in serving:
        if not isinstance(import_module(place).get_auth_instance(), TokenAuth):
            raise ConfigurationError(
                "This server would let everybody in: it has not loaded server/auth.py. Name that under "
                "auth.path in its langgraph.json, as this project's does; where that is so, the log says why "
                "it could not be loaded."
            )
