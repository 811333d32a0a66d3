"""``publish-due``: publish what is approved, for a timer that runs it every hour.

Each batch of samples is published in a transaction of its own: one that fails leaves the others published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from beak_lims.commands.snapshotting import LabOption, TenantOption, laboratories_of, perform

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext
    from tenantry import Tenancy

BATCH = 50  # samples of one transaction


def add_publishing(app: typer.Typer, open_tenancy: Callable[[], Tenancy]) -> None:
    """Add the command."""

    @app.command()
    def publish_due(tenant_slug: TenantOption = None, lab: LabOption = None) -> None:
        """Publish every approved sample, each with its report."""
        perform(open_tenancy, tenant_slug, lambda tenancy, slug: _publish(tenancy, slug, lab))


def _publish(tenancy: Tenancy, slug: str, lab: str | None) -> str:
    from beak_lims.context import LabContext, bind
    from beak_lims.services.reports import publish_due
    from tenantry.registry.actor import current
    from tenantry.stores.faults import faults

    @contextmanager
    def at_work(uid: str | None) -> Iterator[tuple[Session, LabContext]]:
        with faults(tenancy.store.describe(tenancy.get(slug).location)), tenancy.session(slug) as session:
            context = LabContext(slug, user_name=current().name, laboratory_uid=uid)
            bind(session, context)
            yield session, context

    with at_work(None) as (session, _):
        laboratories = laboratories_of(session, lab)
    published = 0
    for uid in laboratories:
        done = BATCH
        while done == BATCH:
            with at_work(uid) as (session, context):
                done = len(publish_due(session, context, BATCH))
            published += done
    return f"published {published}"
