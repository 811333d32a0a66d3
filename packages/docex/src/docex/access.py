"""What a user may do: readers read, editors also change documents, admins also remove baskets and set limits.

Checked on every operation once ``security.enforce_user_context`` is true; before that, roles are carried only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docex.errors import AccessDenied

if TYPE_CHECKING:
    from docex.database import Database

READ, WRITE, ADMIN = "reader", "editor", "admin"
_MAY = {READ: (READ, WRITE, ADMIN), WRITE: (WRITE, ADMIN), ADMIN: (ADMIN,)}


def check(db: Database, role: str) -> None:
    """:raises AccessDenied: roles are enforced, and the user has neither this one nor a higher one."""
    if not db.enforced:
        return
    context = db.user_context
    if context is None or not any(context.has_role(held) for held in _MAY[role]):
        raise AccessDenied(context.user_id if context else None, (role, *((context.roles or ()) if context else ())))
