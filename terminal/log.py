"""errors.log in the data directory: errors and their details, redacted."""

import logging
import re
from io import SEEK_END, TextIOWrapper
from pathlib import Path

from base.data_dir import LOG
from base.run_context import current_run
from base.settings import Settings
from storage.sqlite import create_private

_ENTRY = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ .*")
_END_BYTES = 100_000
"""Bytes of its end that are looked through for its last entry."""


class PrivateLog(logging.FileHandler):
    """Appends warnings and errors to a file of its owner's alone."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.data_dir / LOG, encoding="utf-8", delay=True)
        self.setLevel(logging.WARNING)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s%(of_run)s: %(message)s"))
        self._redact = settings.redact
        self.failed = False

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text, run and traceback, redacted."""
        of_run = "".join(f" {name}={value!r}" for name, value in current_run().known().items())
        record.of_run = f" [{of_run.strip()}]" if of_run else ""
        return self._redact(super().format(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 (logging's name)
        """Note that the log cannot be written, and print nothing."""
        self.failed = True

    def _open(self) -> TextIOWrapper:
        create_private(Path(self.baseFilename))
        return super()._open()


def last_entry(settings: Settings) -> tuple[Path, str] | None:
    """Return the log and its last entry's first line; None: no entry."""
    path = settings.data_dir / LOG
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, SEEK_END) - _END_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    return next(((path, line) for line in reversed(lines) if _ENTRY.fullmatch(line)), None)


def unexpected(error: Exception) -> str:
    """Log an unforeseen error and return the sentence for a person."""
    what = f"Something unexpected went wrong ({type(error).__name__})."
    log = next((one for one in logging.getLogger().handlers if isinstance(one, PrivateLog)), None)
    if log is None:
        return f"{what} It happened before the settings were read, so nothing was logged."
    logging.getLogger("twobrain").error("unexpected", exc_info=error)
    if log.failed:
        return f"{what} The details could not be written to {log.baseFilename}."
    return f"{what} The details are in {log.baseFilename}."
