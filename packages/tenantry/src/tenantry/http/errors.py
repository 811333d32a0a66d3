"""What the HTTP edge itself refuses, as branches of the engine's tree; the fields of an error are its ``args``.

TenancyError
+-- RequestRejected         a request that is refused whatever it asks for
    +-- HostRejected
    +-- BodyTooLarge
    +-- BodyTooSlow
    +-- CursorRejected
    +-- ValueRejected       a value of the query or of a header
    +-- KeyReused           an Idempotency-Key that came with another request before
    +-- KeyInUse            ... whose first request is still at work
    +-- TooBusy             the bound on waiting work is reached
    +-- TookTooLong         the work did not end in its time
"""

from __future__ import annotations

from tenantry.errors import TenancyError


class RequestRejected(TenancyError):
    """Base of what the HTTP edge refuses."""


class HostRejected(RequestRejected):
    """The Host header is missing, malformed, or names no host that is served here."""

    def __str__(self) -> str:
        return "This host is not served here. The server's --trusted-host names those that are."


class BodyTooLarge(RequestRejected):
    """A body is longer than is read. Fields: limit in bytes."""

    def __str__(self) -> str:
        return f"The body is longer than {self.args[0]} bytes."


class BodyTooSlow(RequestRejected):
    """A body did not arrive in time. Fields: seconds."""

    def __str__(self) -> str:
        return f"The body did not arrive within {self.args[0]:g} s."


class CursorRejected(RequestRejected, ValueError):
    """A cursor is damaged, or was made for another list."""

    def __str__(self) -> str:
        return "The cursor is not one that this list gave out. Begin again without it."


class ValueRejected(RequestRejected, ValueError):
    """A value of the query or of a header cannot be used. Fields: its name, reason."""

    def __str__(self) -> str:
        name, reason = self.args
        return f"{name} cannot be used: {reason}"


class KeyReused(RequestRejected):
    """An Idempotency-Key came with another request before."""

    def __str__(self) -> str:
        return "This Idempotency-Key came with another request before. Use a new key for a new request."


class KeyInUse(RequestRejected):
    """The first request of an Idempotency-Key is still at work. Fields: seconds after which to ask again."""

    @property
    def retry_after(self) -> float:
        """Seconds after which to ask again."""
        return float(self.args[0])

    def __str__(self) -> str:
        return "The first request with this Idempotency-Key is still at work. Ask again in a moment."


class TooBusy(RequestRejected):
    """As much work as is allowed waits already; nothing was done. Fields: seconds after which to ask again."""

    @property
    def retry_after(self) -> float:
        """Seconds after which to ask again."""
        return float(self.args[0])

    def __str__(self) -> str:
        return "The server has more work than it takes on at once. Nothing was done; ask again later."


class TookTooLong(RequestRejected):
    """The work did not end in its time, and may still do so. Fields: seconds."""

    def __str__(self) -> str:
        return (
            f"The work did not end within {self.args[0]:g} s; it goes on. "
            "Look at the record of what was asked for before asking again."
        )
