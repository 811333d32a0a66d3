"""What an examination found, in words that say what is wrong and what mends it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. ``mend``: the command, or the statement, that mends it."""

    kind: str  # one word: missing, unfinished, failed, ledger, behind, stray, setting, space, leftover ...
    subject: str  # a tenant's slug, or what else it is about
    text: str
    mend: str
