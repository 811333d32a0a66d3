"""What a tenant's user may do: a permission is an action on a target, given by the groups that the user is in.

Read from the database at every request, so what is taken away is gone at once; of a route's work that is what the route
asks for, so a route names every permission that its work will need. A superuser of the tenant may do everything in it,
and nothing outside of it.
"""

from __future__ import annotations

from beak_lims.context import LabContext
from beak_lims.errors import NotPermitted


def may(context: LabContext, action: str, target: str) -> bool:
    """Whether the work's user may do it. The installation's own work may."""
    return context.is_superuser or context.user_uid is None or (action, target) in context.permissions


def require(context: LabContext, action: str, target: str) -> None:
    """:raises NotPermitted: the work's user may not do it."""
    if not may(context, action, target):
        raise NotPermitted(action, target)
