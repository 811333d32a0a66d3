"""Who works with DocEX, and for which tenant.

The roles and attributes are carried for the application's own use: DocEX checks none of them. The user id names the
actor in the audit trail when a first access provisions a tenant; it is not written to a document's rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class UserContext:
    """The user, and the tenant whose documents they may see."""

    user_id: str
    user_email: str | None = None
    tenant_id: str | None = None
    roles: list[str] | None = None
    attributes: dict[str, Any] | None = None

    def has_role(self, role: str) -> bool:
        """Whether the user carries the role; False when no roles were given."""
        return role in (self.roles or ())

    def get_attribute(self, key: str, default: Any = None) -> Any:
        """An attribute's value, or the default when it was not given."""
        return (self.attributes or {}).get(key, default)
