"""What the tests of resolution need beside the application of the routing tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tenantry import Tenancy

APPLICATION = Path(__file__).parents[2] / "routing" / "application"  # for child processes


def within(seconds: float, condition: Callable[[], Any]) -> float:
    """Wait until it holds, and say how long that took; fails after the time."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        time.sleep(0.005)
    return time.monotonic() - started


def listening(tenancy: Tenancy, seconds: float = 20) -> Tenancy:
    """The tenancy, as soon as it hears of changes."""
    tenancy.watch()
    within(seconds, lambda: tenancy.directory.heard)
    return tenancy


class Queries(list[str]):
    """The statements that a tenancy's control plane is sent."""

    def __init__(self, tenancy: Tenancy) -> None:
        super().__init__()
        engine = tenancy.store.control_engine()

        @sa.event.listens_for(engine, "before_cursor_execute")
        def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if not statement.startswith("BEGIN"):
                self.append(statement)
