"""The `twobrain` command: exit codes, and no traceback to a person."""

import gc
import io
import sys
import warnings
from importlib.util import find_spec
from typing import NoReturn


def main() -> None:
    """Run the command line.

    It exits with 0 answered, 1 failed, 2 usage, 3 waiting, 130 interrupted.
    """
    try:
        from graphs.shadowing import check_shadowing

        check_shadowing()
    except ImportError as error:  # what would look for intruders is itself hidden by one
        found = ", ".join(spec.origin or name for name in ("base", "graphs") if (spec := find_spec(name)))
        _refuse(f"twobrain cannot start: {error}. Is one of these another distribution's? {found}")
    except Exception as error:  # it names the intruder
        _refuse(str(error))
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # letters that the terminal lacks
    from base.errors import TwobrainError

    try:
        _check_arguments()
        import terminal.schedule_app
        import terminal.upkeep_app  # noqa: F401 (their commands are the app's, too)
        from terminal.app import app

        app(prog_name="twobrain")
    except TwobrainError as error:
        _end(str(error), error.exit_code)
    except Exception as error:  # a person reads a sentence; the log gets the traceback
        from terminal.log import unexpected

        _end(unexpected(error), 1)
    finally:
        gc.freeze()  # the interpreter would look through all that was imported once more: up to half a second


def _check_arguments() -> None:
    """Refuse what is no text: no database takes it."""
    from base.errors import ConfigurationError
    from base.texts import mended

    for each in sys.argv[1:]:
        if mended(each) != each:
            raise ConfigurationError(f"The argument {each[:80]!r} holds bytes that are no text in UTF-8.")


def _refuse(message: str) -> NoReturn:
    """End with a plain sentence, printed by nothing of ours."""
    sys.stderr.write(f"{message}\n")
    sys.exit(2)


def _end(message: str, code: int) -> None:
    from terminal.screen import complain

    complain(message)
    sys.exit(code)
