"""The registry of tenants: making it, and what it holds of one tenant.

The registry is the engine's control plane. It is made with the first tenant at the latest; who wants it before that, or
asks for it under its older name of a bootstrap tenant, does so here. No documents can be kept in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from docex.config.docex_config import DocEXConfig
from docex.config.settings import Settings
from docex.errors import MultiTenancyDisabled, NotInitialized
from docex.tenancy import PLATFORM_SCHEMA, tenancy_for, tenant_errors
from tenantry import Tenancy
from tenantry.errors import RegistryMissing
from tenantry.stores.sqlite import CONTROL_FILE
from tenantry.tenant import Tenant

SYSTEM_TENANT = "_docex_system_"
SYSTEM_NAME = "DocEX System"


@dataclass(frozen=True)
class TenantRegistry:
    """What the registry holds of one tenant."""

    tenant_id: str
    display_name: str
    is_system: bool
    isolation_strategy: str  # schema (PostgreSQL) or database (SQLite)
    schema_name: str | None
    database_path: str | None
    created_at: datetime | None  # UTC
    created_by: str
    last_updated_at: datetime | None  # UTC
    last_updated_by: str | None

    def to_dict(self) -> dict[str, Any]:
        """As plain values; times in ISO format."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()
        }


class BootstrapTenantManager:
    """Makes the registry of a configuration, by default of the configuration file."""

    def __init__(self, config: DocEXConfig | None = None) -> None:
        """:raises NotInitialized: there is no configuration. :raises MultiTenancyDisabled: it has no tenants."""
        config = config or DocEXConfig()
        self._settings = config.validate()
        if not self._settings.by_tenant:
            raise MultiTenancyDisabled()
        if not config.exists:
            raise NotInitialized()
        self._tenancy = tenancy_for(self._settings)

    def initialize(self, created_by: str = "system") -> TenantRegistry:
        """Make the registry, or bring it to this release; nothing is changed where that is done already."""
        with tenant_errors(SYSTEM_TENANT), self._tenancy.acting(created_by):
            self._tenancy.initialize()
        return self._entry(created_by)

    def is_initialized(self) -> bool:
        """Whether there is a registry. Makes none."""
        with tenant_errors(SYSTEM_TENANT):
            try:
                self._tenancy.list()
            except RegistryMissing:
                return False
            return True

    def get_bootstrap_tenant(self) -> TenantRegistry | None:
        """The registry's own entry; None if there is no registry."""
        return self._entry("system") if self.is_initialized() else None

    def _entry(self, created_by: str) -> TenantRegistry:
        schema = strategy(self._settings) == "schema"
        return TenantRegistry(
            SYSTEM_TENANT,
            SYSTEM_NAME,
            True,
            strategy(self._settings),
            PLATFORM_SCHEMA if schema else None,
            None if schema else CONTROL_FILE,
            None,
            created_by,
            None,
            None,
        )


def strategy(settings: Settings) -> str:
    """How tenants are kept apart in the configured database."""
    return "schema" if settings.database.type == "postgres" else "database"


def entry(tenancy: Tenancy, tenant: Tenant, kept: str) -> TenantRegistry:
    """What the registry holds of a tenant, and of who made and last changed it."""
    with tenant_errors(tenant.slug):
        operations = sorted(tenancy.operations(tenant.slug), key=lambda operation: operation.started_at)
    return TenantRegistry(
        tenant.slug,
        tenant.name,
        False,
        kept,
        tenant.location if kept == "schema" else None,
        None if kept == "schema" else tenant.location,
        tenant.created_at,
        _actor(operation.actor for operation in operations) or "",
        tenant.updated_at,
        _actor(operation.actor for operation in reversed(operations)),
    )


def _actor(actors: Iterable[str]) -> str | None:
    return next(iter(actors), None)
