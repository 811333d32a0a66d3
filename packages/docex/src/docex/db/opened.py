"""Which tenants this process has opened, for those who want to list them and to let go of their connections."""

from __future__ import annotations

import os

_tenants: dict[int, dict[str, None]] = {}  # by process: a child made by fork has opened nothing yet


def note(tenant_id: str | None) -> None:
    """Remember that a tenant was opened."""
    if tenant_id is not None:
        _tenants.setdefault(os.getpid(), {})[tenant_id] = None


def forget(tenant_id: str | None = None) -> None:
    """Forget one tenant, or all."""
    held = _tenants.get(os.getpid(), {})
    if tenant_id is None:
        held.clear()
    else:
        held.pop(tenant_id, None)


def tenants() -> list[str]:
    """The tenants that were opened, in that order."""
    return list(_tenants.get(os.getpid(), {}))
