"""Spans for OpenTelemetry: what was done to which tenant, for applications that trace.

An application that has loaded ``opentelemetry.trace`` gets a span for every session, for every step of an operation,
with the tenant's slug as the attribute ``tenant``, and for every rollout. One that has not pays a look into a
dictionary and nothing else: nothing here imports the library.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

LIBRARY = "opentelemetry.trace"
_NOTHING: AbstractContextManager[Any] = nullcontext()


def traced() -> bool:
    """Whether anybody traces."""
    return LIBRARY in sys.modules


def span(name: str, tenant: str | None = None, **attributes: str | int) -> AbstractContextManager[Any]:
    """A span around the block, the current one inside it. An exception that leaves the block is recorded on it."""
    library: Any = sys.modules.get(LIBRARY)
    if library is None:
        return _NOTHING
    marks = attributes if tenant is None else {"tenant": tenant, **attributes}
    found: AbstractContextManager[Any] = library.get_tracer("tenantry").start_as_current_span(
        f"tenantry.{name}", attributes=marks
    )
    return found
