"""errors.log in the data directory: what a person need not read, without their secrets."""

import logging
from io import TextIOWrapper
from pathlib import Path

from ledger.private import create_private
from settings import Settings


class PrivateLog(logging.FileHandler):
    """Appends warnings and errors to a file that only its owner can read; made when first needed."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.data_dir / "errors.log", encoding="utf-8", delay=True)
        self.setLevel(logging.WARNING)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._redact = settings.redact
        self.failed = False

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text and traceback, redacted."""
        return self._redact(super().format(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 (logging's name)
        """Remember that the log cannot be written; a person's terminal is no place for it."""
        self.failed = True

    def _open(self) -> TextIOWrapper:
        create_private(Path(self.baseFilename))
        return super()._open()


def start_log(settings: Settings) -> None:
    """Send every library's warnings and errors to errors.log."""
    logging.getLogger().addHandler(PrivateLog(settings))


def unexpected(error: Exception) -> str:
    """Log an error that nobody foresaw and return the sentence that a person reads."""
    what = f"Something unexpected went wrong ({type(error).__name__})."
    handlers = (one for one in logging.getLogger().handlers if isinstance(one, PrivateLog))
    log = next(handlers, None)
    if log is None:
        return f"{what} It happened before the settings were read, so nothing was logged."
    logging.getLogger("twobrain").error("unexpected", exc_info=error)
    if log.failed:
        return f"{what} The details could not be written to {log.baseFilename}."
    return f"{what} The details are in {log.baseFilename}."
