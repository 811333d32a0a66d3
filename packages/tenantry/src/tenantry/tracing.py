"""Spans for OpenTelemetry: what was done to which tenant, for applications that trace.

An application that has loaded ``opentelemetry.trace`` gets a span for every session and for every step of an operation,
with the tenant's slug as the attribute ``tenant``. One that has not pays a look into a dictionary and nothing else:
nothing here imports the library.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

LIBRARY = "opentelemetry.trace"
_NOTHING: AbstractContextManager[Any] = nullcontext()


def span(name: str, tenant: str) -> AbstractContextManager[Any]:
    """A span around the block, the current one inside it. An exception that leaves the block is recorded on it."""
    library: Any = sys.modules.get(LIBRARY)
    if library is None:
        return _NOTHING
    found: AbstractContextManager[Any] = library.get_tracer("tenantry").start_as_current_span(
        f"tenantry.{name}", attributes={"tenant": tenant}
    )
    return found
