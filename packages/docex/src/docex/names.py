"""Names of baskets and files, made safe for every file system.

Two different texts may give one name (``My Invoices!`` and ``My_Invoices``): whoever looks up by name must sanitise
first, as whoever stores.
"""

from __future__ import annotations

import re

LONGEST_NAME = 80  # characters
LONGEST_SUFFIX = 20  # characters, the dot included
UNNAMED = "unnamed"

_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_.-]")
_RUNS = re.compile(r"__+")


def sanitise(text: str) -> str:
    """The text with only ``A-Z a-z 0-9 _ . -`` left, at most 80 characters, never empty; sanitising twice changes
    nothing more.
    """
    name = _RUNS.sub("_", _NOT_ALLOWED.sub("_", text)).strip("_.")
    # The cut may lay a separator bare at the end.
    return name[:LONGEST_NAME].rstrip("_.") or UNNAMED


def sanitise_suffix(suffix: str) -> str:
    """A file name's suffix (``.pdf``), as it is when it is an ordinary one; empty when nothing of it can be kept."""
    kept = _NOT_ALLOWED.sub("_", suffix.removeprefix(".")).strip("_.")[: LONGEST_SUFFIX - 1].rstrip("_.")
    return f".{kept}" if kept else ""
