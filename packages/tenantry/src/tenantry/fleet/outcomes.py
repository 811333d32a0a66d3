"""What a rollout is and what became of each of its tenants, as plain values.

Nothing here touches a database.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from tenantry.errors import DeclarationError

SHOWN = 5  # slugs of a group that are named in one line


class RolloutStatus(StrEnum):
    """Where a rollout stands. One that is ``running`` while no process works on it was interrupted: resume it."""

    RUNNING = "running"
    PAUSED = "paused"  # by the person who ran it; resume goes on
    STOPPED = "stopped"  # a canary failed or the error budget is spent; resume goes on
    DONE = "done"  # every tenant is at the target
    FAILED = "failed"  # all were tried, some are not at the target
    ABORTED = "aborted"  # given up; what was done stays done


class OutcomeStatus(StrEnum):
    """What became of one tenant."""

    PENDING = "pending"  # not begun, or put off because it was busy
    DONE = "done"
    FAILED = "failed"  # as it was before
    UNKNOWN = "unknown"  # at a revision that this build does not know: not touched
    GONE = "gone"  # removed, archived or no longer served meanwhile


@dataclass(frozen=True)
class Outcome:
    """One tenant in a rollout."""

    tenant_uid: str
    slug: str
    position: int
    wave: int  # 0: a canary
    status: OutcomeStatus
    base: str | None  # where it stood when the rollout began
    revision: str | None = None  # where it stands now, if it is done
    seconds: float | None = None
    lock_wait: float | None = None  # seconds of them until its tables were locked
    attempts: int = 0
    sqlstate: str | None = None  # or SQLite's name of the error
    object: str | None = None  # what the error is about
    error: str | None = None
    finished_at: datetime | None = None  # UTC


@dataclass(frozen=True)
class Rollout:
    """One run over many tenants, as the registry keeps it."""

    uid: str
    target: str | None  # None: base
    status: RolloutStatus
    actor: str
    origin: str
    started_at: datetime  # UTC
    finished_at: datetime | None = None  # UTC
    error: str | None = None  # why it stopped
    options: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[OutcomeStatus, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many tenants it concerns."""
        return sum(self.counts.values())

    def count(self, *statuses: str) -> int:
        """How many of them have one of these outcomes."""
        return sum(self.counts.get(OutcomeStatus(status), 0) for status in statuses)


@dataclass(frozen=True)
class FailureGroup:
    """Tenants that failed for the same reason: one code, about one object, at one revision."""

    sqlstate: str | None
    object: str | None
    slugs: tuple[str, ...]
    error: str  # of the first of them

    def __str__(self) -> str:
        count = len(self.slugs)
        told = ": ".join(filter(None, (self.sqlstate, self.error)))  # such a group has one text
        about = f"{self.sqlstate or 'error'} on {self.object}" if self.object else told
        named = ", ".join(self.slugs[:SHOWN]) + (", ..." if count > SHOWN else "")
        return f"{count} tenant{'s' if count != 1 else ''}: {about} ({named})"


def grouped(outcomes: Iterable[Outcome]) -> tuple[FailureGroup, ...]:
    """The failures among these, by cause, the most frequent first."""
    found: dict[tuple[str | None, str | None, str], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status in (OutcomeStatus.FAILED, OutcomeStatus.UNKNOWN):
            # Errors without a code or an object are told apart by their text.
            text = "" if outcome.sqlstate and outcome.object else outcome.error or ""
            found.setdefault((outcome.sqlstate, outcome.object, text), []).append(outcome)
    groups = [
        FailureGroup(sqlstate, subject, tuple(one.slug for one in members), members[0].error or "")
        for (sqlstate, subject, _), members in found.items()
    ]
    return tuple(sorted(groups, key=lambda group: (-len(group.slugs), group.sqlstate or "", group.object or "")))


@dataclass(frozen=True)
class Budget:
    """How many tenants may fail: a number, or a part of all. One more, and no further tenant is begun."""

    count: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, given: str | int | None) -> Budget:
        """The budget as people type it: ``5`` or ``2%``; None for no limit.

        :raises DeclarationError: it is neither.
        """
        if given is None:
            return cls()
        found = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)%", str(given).strip())
        if found is None or (found[2] is not None and float(found[2]) > 100):
            raise DeclarationError(str(given), "expected how many tenants may fail: a number such as 5, or 2%.")
        return cls(count=int(found[1])) if found[1] is not None else cls(percent=float(found[2]))

    def allowed(self, total: int) -> int | None:
        """Of this many tenants; None: all of them."""
        if self.count is not None:
            return self.count
        return None if self.percent is None else int(total * self.percent / 100)


@dataclass(frozen=True)
class Report:
    """What a call did. ``rollout`` is None when every tenant was at the target already: then nothing was written."""

    rollout: Rollout | None
    target: str | None
    tenants: int  # that are served or suspended
    seconds: float
    failures: tuple[FailureGroup, ...] = ()
    notes: tuple[str, ...] = ()  # what the caller must know besides

    @property
    def complete(self) -> bool:
        """Whether every tenant it concerned is at the target."""
        return self.rollout is None or self.rollout.status is RolloutStatus.DONE


def waves(slugs: Sequence[str], canary: int | Sequence[str], wave_size: int | None) -> dict[str, int]:
    """The wave of each slug: 0 for the canaries, then 1, 2, ...

    A number of canaries is taken evenly from the whole list, so that they are not all of one age or one name.

    :raises DeclarationError: a canary is not among the slugs, or a number is not positive.
    """
    if wave_size is not None and wave_size < 1:
        raise DeclarationError(f"wave size {wave_size}", "expected at least one tenant in a wave.")
    if isinstance(canary, int):
        if canary < 0:
            raise DeclarationError(f"canary {canary}", "expected how many tenants go first, or their slugs.")
        chosen = (
            {slugs[number * len(slugs) // canary] for number in range(min(canary, len(slugs)))} if canary else set()
        )
        if canary > len(slugs):
            chosen = set(slugs)
    else:
        chosen = set(canary) & set(slugs)
    rest = [slug for slug in slugs if slug not in chosen]
    size = wave_size or max(len(rest), 1)
    return {slug: 0 for slug in slugs if slug in chosen} | {slug: 1 + n // size for n, slug in enumerate(rest)}
