"""The database of a tenant for SQL of a script's own, under the names of the public package."""

from importlib import import_module
from typing import Any

_PLACES = {
    "Database": "docex.db.connection",
    "TenantDatabaseManager": "docex.db.tenant_database_manager",
    "TenantRegistry": "docex.provisioning.bootstrap",
}


def __getattr__(name: str) -> Any:
    # Found when they are asked for: docex itself imports parts of this package.
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
