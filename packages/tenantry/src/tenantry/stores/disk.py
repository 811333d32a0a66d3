"""Directories made, and paths written to their disk, so that what was promised outlives a power failure.

Knows paths, not tenants. A disk that lies about what it has written is believed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def make_directories(path: Path) -> list[Path]:
    """Make a directory and its parents; return those that were not there, innermost first."""
    with suppress(FileExistsError, FileNotFoundError):
        path.mkdir()  # most often it alone is missing
        return [path]
    missing = []
    for directory in (path, *path.parents):
        if directory.exists():
            break
        missing.append(directory)
    path.mkdir(parents=True, exist_ok=True)
    return missing


def sync(path: Path) -> None:
    """Have the system write a file or directory to its disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
