"""The current tenant: opened once, seen by everything called from there, and never switched from within.

It travels with the task and is absent in a thread that was not given it. There is no default. A unit of work that
begins anew - a request, a job, a call in a pooled thread - has the tenant it was given or none, and nothing of what
ran there before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token

from tenantry.errors import NoTenant, WrongTenant

_current: ContextVar[str | None] = ContextVar("tenantry_tenant", default=None)


@contextmanager
def tenant_scope(slug: str) -> Iterator[None]:
    """Inside, this is the current tenant. :raises WrongTenant: another tenant's scope is open."""
    check(slug)
    token = _current.set(slug)
    try:
        yield
    finally:
        _current.reset(token)


def current_tenant() -> str:
    """The slug of the open scope. :raises NoTenant: none is open."""
    slug = _current.get()
    if slug is None:
        raise NoTenant()
    return slug


def check(slug: str) -> None:
    """:raises WrongTenant: the scope of another tenant is open."""
    outer = _current.get()
    if outer not in (None, slug):
        raise WrongTenant(slug, outer)


def open_tenant() -> str | None:
    """The slug of the open scope; None when none is open."""
    return _current.get()


def begin(slug: str | None) -> Token[str | None]:
    """Begin a unit of work for this tenant, or for none, whatever scope is open; ``end`` takes what this returns."""
    return _current.set(slug)


def end(begun: Token[str | None]) -> None:
    """End a unit of work where it began: what was open before is open again."""
    _current.reset(begun)
