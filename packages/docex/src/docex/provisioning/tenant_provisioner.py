"""Provision one tenant and try whether it works: the Python behind ``docex provision-tenant``.

Nothing here removes a tenant or its data, whatever fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from docex.config.docex_config import DocEXConfig
from docex.database import TenantDatabase
from docex.errors import (
    ConfigurationError,
    InvalidTenantIdError,
    MultiTenancyDisabled,
    NotInitialized,
    TenantBusyError,
    TenantExistsError,
    TenantProvisioningError,
)
from docex.models.tables import BasketRow, new_id
from docex.provisioning.bootstrap import SYSTEM_TENANT, TenantRegistry, entry, strategy
from docex.storage.filesystem import probe
from docex.tenancy import Made, check_tenant_id, ensure, existing, exists, missing_rights, provision, tenancy_for

__all__ = [
    "InvalidTenantIdError",
    "Made",
    "TenantBusyError",
    "TenantExistsError",
    "TenantProvisioner",
    "TenantProvisioningError",
    "TenantRegistry",
    "Verified",
]


@dataclass(frozen=True)
class Verified:
    """What the check of a tenant found."""

    test_basket_id: str  # of a basket that was made and taken back
    baskets: int  # how many the tenant has


class TenantProvisioner:
    """Makes tenants of one configuration, by default of the configuration file."""

    def __init__(self, config: DocEXConfig | None = None) -> None:
        """:raises NotInitialized: there is no configuration. :raises MultiTenancyDisabled: it has no tenants."""
        config = config or DocEXConfig()
        self._settings = config.validate()
        if not self._settings.by_tenant:
            raise MultiTenancyDisabled()
        if not config.exists:
            raise NotInitialized()
        self._tenancy = tenancy_for(self._settings)

    def create(
        self,
        tenant_id: str,
        display_name: str | None = None,
        created_by: str = "docex",
        isolation_strategy: str | None = None,
    ) -> TenantRegistry:
        """Make a tenant and return its registry entry. Otherwise as :meth:`provision`.

        :raises ConfigurationError: the isolation strategy is not the one of the configured database.
        """
        kept = strategy(self._settings)
        if isolation_strategy not in (None, kept):
            raise ConfigurationError(
                "isolation_strategy", f"tenants are kept apart by {kept} here, not by {isolation_strategy}."
            )
        self.provision(tenant_id, created_by=created_by, display_name=display_name)
        return entry(self._tenancy, existing(self._tenancy, tenant_id), kept)

    def provision(self, tenant_id: str, *, created_by: str = "docex", display_name: str | None = None) -> Made:
        """Make a tenant, or finish what an interrupted provisioning left; tells which.

        :raises InvalidTenantIdError: the id is not allowed; nothing was touched.
        :raises TenantExistsError: the tenant is there; nothing was changed.
        """
        with self._tenancy.acting(created_by):
            return provision(self._tenancy, tenant_id, display_name)

    def ensure(self, tenant_id: str, *, created_by: str = "docex") -> None:
        """Make a tenant unless it is there; wait for a process that is making it."""
        ensure(self._tenancy, tenant_id, created_by)

    def tenant_exists(self, tenant_id: str) -> bool:
        """Whether the tenant is registered and its schema or file is there. Makes nothing."""
        return exists(self._tenancy, tenant_id)

    def validate_tenant_id(self, tenant_id: str) -> None:
        """:raises InvalidTenantIdError: no tenant may be called so."""
        check_tenant_id(self._tenancy, tenant_id)

    @staticmethod
    def is_system_tenant(tenant_id: str) -> bool:
        """Whether this names the registry's own entry, which no one may work in."""
        return tenant_id == SYSTEM_TENANT

    def verify(self, tenant_id: str) -> Verified:
        """Try whether the tenant works: its tables by a basket made and taken back, its storage by a file.

        Nothing is left behind, even if the process is killed: the basket is never committed.
        """
        existing(self._tenancy, tenant_id)
        with TenantDatabase(self._tenancy, tenant_id).session(write=True) as session:
            attempt = session.begin_nested()
            # A name of its own: a basket of the user's may be called test_basket_acme-corp.
            test = BasketRow(id=new_id("bas"), name=new_id(f"test_basket_{tenant_id}")[:255], storage_config={})
            session.add(test)
            session.flush()
            found = session.scalars(select(BasketRow.id).where(BasketRow.name == test.name)).one()
            attempt.rollback()
            count = session.scalars(select(func.count()).select_from(BasketRow)).one()
        probe(Path(self._settings.storage.filesystem.path).expanduser().absolute() / tenant_id, keep=False)
        return Verified(found, count)

    def advice(self) -> str | None:
        """What would keep tenants apart better than the database user's rights allow; None if nothing would."""
        return missing_rights(self._tenancy, self._settings.database)
