"""What was done to one tenant since it was made, whatever it was called at the time.

Reads the journal by the tenant's uid, which a renaming does not change. Decides nothing.
"""

from __future__ import annotations

import sqlalchemy as sa

from tenantry.registry.journal import Operation
from tenantry.registry.registry import Registry
from tenantry.registry.tables import tables
from tenantry.tenant import Tenant, TenantStatus

COPIES = ("restore", "clone")  # operations that make a tenant of another's data


def operations_of(registry: Registry, schema: str | None, tenant: Tenant) -> list[Operation]:
    """Every operation on this very tenant, oldest first; without their steps."""
    table = tables(schema).operation
    query = sa.select(table).where(table.c.tenant_uid == tenant.uid).order_by(table.c.uid)
    with registry.transaction() as connection:
        return [Operation(**row) for row in connection.execute(query).mappings()]


def half_restored(registry: Registry, schema: str | None, tenant: Tenant) -> bool:
    """Whether this tenant is being made of another's data, and that was never finished."""
    if tenant.status not in (TenantStatus.PROVISIONING, TenantStatus.FAILED):
        return False
    done = operations_of(registry, schema, tenant)
    return bool(done) and done[0].kind in COPIES
