"""Seeds on one tenant or on many: each tenant in a transaction of its own, and one outcome each.

A tenant that fails keeps what it had, and does not stop the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beak_lims import audit
from beak_lims.context import LabContext, bind
from tenantry.errors import TenancyError
from tenantry.stores.faults import faults
from tenantry.tenant import TenantStatus

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from tenantry import Tenancy

Work = Callable[["Session", str], Sequence["Seeded"]]  # given the tenant's session and slug


@dataclass(frozen=True)
class Seeded:
    """What became of the rows that one seed has for one table."""

    table: str
    added: int = 0
    changed: int = 0
    retired: int = 0
    unchanged: int = 0
    rejected: int = 0
    file: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a seed did to one tenant, or the error that kept it from doing anything."""

    slug: str
    seeded: Sequence[Seeded] = ()
    error: TenancyError | None = None


def targets(tenancy: Tenancy, slug: str | None, default: str | None) -> list[str]:
    """The tenants to work on: the one named, else the installation's default one, else all that are active."""
    if slug is not None:
        return [slug]
    if default is not None:
        return [default]
    return [tenant.slug for tenant in tenancy.list(TenantStatus.ACTIVE)]


def run(tenancy: Tenancy, slugs: Sequence[str], work: Work) -> Iterator[Outcome]:
    """Do the work on each tenant in turn.

    A single tenant's error is raised, not told as an outcome: the caller named it.
    """
    for slug in slugs:
        if len(slugs) == 1:
            yield one(tenancy, slug, work)
            continue
        try:
            yield one(tenancy, slug, work)
        except TenancyError as error:
            yield Outcome(slug, error=error)


def one(tenancy: Tenancy, slug: str, work: Work) -> Outcome:
    """Do the work on one tenant.

    :raises TenantNotFound, TenantNotActive: it cannot be worked on. :raises TenancyError: the work was refused.
    """
    with session_of(tenancy, slug) as session:
        seeded = work(session, slug)
        told = {
            one.table: {"added": one.added, "changed": one.changed, "retired": one.retired}
            for one in seeded
            if one.added or one.changed or one.retired
        }
        if told:  # rows that are written in bulk leave no entry each
            audit.note(session, _context(slug), "seed", "tenant", after=told)
        return Outcome(slug, seeded)


@contextmanager
def session_of(tenancy: Tenancy, slug: str) -> Iterator[Session]:
    """A session on one tenant, of the installation's own work."""
    location = tenancy.store.describe(tenancy.get(slug).location)
    with faults(location), tenancy.session(slug) as session:
        yield bind(session, _context(slug))


def _context(slug: str) -> LabContext:
    return LabContext(slug, user_name="seed")
