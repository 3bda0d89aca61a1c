"""Files that only their owner can read."""

import os
from pathlib import Path


def create_private(path: Path) -> Path:
    """Create the file and its folder for their owner alone where they are missing; return the path.

    Raises:
        OSError: it can be neither created nor opened.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    return path
