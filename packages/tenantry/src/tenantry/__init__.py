"""Tenant provisioning for applications on SQLAlchemy and Alembic: a schema per tenant on PostgreSQL, a file per tenant
on SQLite.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenantry.errors import TenancyError
    from tenantry.migrations.directory import Migrations
    from tenantry.names import NameTemplate, Slug, SlugRule
    from tenantry.provisioning import Activation, Provisioned, Seeding
    from tenantry.stores.postgres import PostgresSchemas
    from tenantry.stores.sqlite import SqliteFiles
    from tenantry.tenancy import Tenancy
    from tenantry.tenant import Tenant, TenantStatus

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())

# Loaded at first use: a command that only prints its help loads neither SQLAlchemy nor a driver.
_HOMES = {
    "Activation": "provisioning",
    "Migrations": "migrations.directory",
    "NameTemplate": "names",
    "PostgresSchemas": "stores.postgres",
    "Provisioned": "provisioning",
    "Seeding": "provisioning",
    "Slug": "names",
    "SlugRule": "names",
    "SqliteFiles": "stores.sqlite",
    "Tenancy": "tenancy",
    "TenancyError": "errors",
    "Tenant": "tenant",
    "TenantStatus": "tenant",
}

__all__ = [
    "Activation",
    "Migrations",
    "NameTemplate",
    "PostgresSchemas",
    "Provisioned",
    "Seeding",
    "Slug",
    "SlugRule",
    "SqliteFiles",
    "Tenancy",
    "TenancyError",
    "Tenant",
    "TenantStatus",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
