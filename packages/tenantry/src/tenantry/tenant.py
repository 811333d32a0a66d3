"""What a tenant is, its statuses, and which status may follow which.

Plain values: nothing here touches a database. ``gone`` has no record, so it is not a status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from tenantry.errors import StatusRefused


class TenantStatus(StrEnum):
    """Where a tenant stands; each member says what its record promises."""

    PROVISIONING = "provisioning"  # the record exists, the store may not: finish it with migrate
    ACTIVE = "active"  # the store exists, is ready, and is served
    FAILED = "failed"  # provisioning stopped with an error: resume it or clean it up
    SUSPENDED = "suspended"  # the store exists and is kept, but not served
    ARCHIVED = "archived"  # saved elsewhere and not served
    DELETING = "deleting"  # unreachable; the removal may be run again


TRANSITIONS: Mapping[TenantStatus, frozenset[TenantStatus]] = {
    TenantStatus.PROVISIONING: frozenset({TenantStatus.ACTIVE, TenantStatus.FAILED}),
    TenantStatus.ACTIVE: frozenset({TenantStatus.SUSPENDED, TenantStatus.ARCHIVED}),
    TenantStatus.FAILED: frozenset({TenantStatus.PROVISIONING, TenantStatus.DELETING}),
    TenantStatus.SUSPENDED: frozenset({TenantStatus.ACTIVE, TenantStatus.ARCHIVED}),
    TenantStatus.ARCHIVED: frozenset({TenantStatus.DELETING}),
    TenantStatus.DELETING: frozenset(),
}


@dataclass(frozen=True)
class Tenant:
    """One registered tenant, as the registry holds it."""

    uid: str
    slug: str
    name: str
    location: str  # the schema's name, or the file's path below the storage root
    status: TenantStatus
    created_at: datetime  # UTC
    updated_at: datetime  # UTC
    role: str | None = None  # the database role its sessions take; None where the store has no roles
    admin_email: str | None = None
    revision: str | None = None  # the ledger: the revision its store was last seen at
    failed_step: str | None = None
    error: str | None = None  # text of what stopped it, without secrets
    provisioned_at: datetime | None = None  # UTC; when it last became active
    attributes: Mapping[str, Any] = field(default_factory=dict)  # the application's own, JSON values

    def require(self, wanted: TenantStatus) -> None:
        """Check that the wanted status may follow the present one. :raises StatusRefused: it may not."""
        if wanted not in TRANSITIONS[self.status]:
            raise StatusRefused(self.slug, self.status.value, wanted.value)
