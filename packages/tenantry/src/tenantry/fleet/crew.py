"""The contract between a rollout, which decides what is done next, and the crews that do it.

A crew works on several tenants at once and decides nothing: it takes tasks while there are any and gives back what
became of each, in the order in which they end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from tenantry.migrations.plan import Plan
from tenantry.tenant import Tenant


class Verdict(StrEnum):
    """What became of one task."""

    DONE = "done"
    FAILED = "failed"  # nothing of it was kept
    BUSY = "busy"  # something is locked, or another operation has the tenant: try again later
    MOVED = "moved"  # the store does not stand where the plan begins; nothing was done
    GONE = "gone"  # the tenant is not there to be migrated any more
    STOPPED = "stopped"  # the rollout was told to stop; nothing was done


@dataclass(frozen=True)
class Task:
    """One tenant and the plan that brings it from where it stands to the target."""

    tenant: Tenant
    plan: Plan
    wave: int
    attempt: int = 1
    locks: tuple[tuple[str, str], ...] = ()  # tables and modes that the plan will lock, in the order to take them


@dataclass(frozen=True)
class Result:
    """What became of a task."""

    task: Task
    verdict: Verdict
    seconds: float
    lock_wait: float | None = None
    sqlstate: str | None = None
    object: str | None = None
    error: str | None = None
    found: str | None = None  # where the store stands, when it was moved
    recorded: bool = False  # the outcome and the ledger were written together with the change


Feed = Callable[[], "Task | None"]


class Crew(ABC):
    """Carries out tasks, several at once."""

    @abstractmethod
    def run(self, feed: Feed) -> Iterator[Result]:
        """Carry out what ``feed`` gives, until it gives None and nothing is in hand any more.

        :raises StoreUnavailable: the database is gone; what was in hand is whole, but its outcome is not known here.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and processes."""
