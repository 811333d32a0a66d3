"""Carry out plans: one tenant's store brought to a revision.

Each leg of a plan is one transaction together with the version row and the registry's ledger; a leg that fails leaves
the store where it stood. The store's own version table is read first and decides: the ledger is never trusted to change
a store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import sqlalchemy as sa
from sqlalchemy.schema import DropTable

from tenantry.errors import MigrationFailed, RevisionsRejected, StatementFailed, TenancyError, UnknownRevision
from tenantry.migrations import online
from tenantry.migrations.directory import BASE, Migrations
from tenantry.migrations.plan import Kind, Plan, Step
from tenantry.migrations.planner import Planner
from tenantry.migrations.resuming import resuming
from tenantry.stores.base import Site, Store
from tenantry.tenant import Tenant

Claim = Callable[
    ["sa.Connection | None"], None
]  # checks, in the site's transaction, that this tenant is still ours to change
Ledger = Callable[[sa.Connection, "str | None"], None]  # records the revision reached


def build(site: Site, plan: Plan, migrations: Migrations, location: str) -> None:
    """Carry out a plan from nothing on an empty place.

    :raises MigrationFailed: nothing of the place is to be kept.
    """
    try:
        if plan.replayable:
            site.lay(plan.digest, plan.statements)
        else:
            run(site.connection, migrations, plan.target, location, inline=True)
    except StatementFailed as error:
        raise _failed(location, plan.steps, error) from error
    if plan.steps:
        site.protect(migrations.version_table)


def current(connection: sa.Connection, migrations: Migrations, location: str) -> str | None:
    """Where a store stands.

    :raises UnknownRevision: this build does not hold that revision. :raises RevisionsRejected: it stands at several
    heads.
    """
    found = online.revision_of(connection, migrations.version_table)
    if found is not None and "," in found:
        raise RevisionsRejected(
            migrations.directory,
            f"{location} stands at several revisions ({found}); bring it to one with plain `alembic`.",
        )
    if found is not None and not migrations.knows(found):
        raise UnknownRevision(location, found, migrations.head())
    return found


def bring(
    store: Store, planner: Planner, tenant: Tenant, target: str | None, *, claim: Claim, ledger: Ledger
) -> tuple[str | None, Plan]:
    """Bring an existing store to a revision (None: base); returns where it stood and the plan carried out.

    :raises StoreMissing: the place is not there. :raises UnknownRevision: the store is ahead of this build; nothing was
    touched.
    :raises MigrationFailed: a revision failed; the legs before it are kept and recorded.
    """
    migrations = planner.migrations
    location = store.describe(tenant.location)
    with store.change(tenant) as site:
        found = current(site.connection, migrations, location)
    plan = planner.plan(found, target)
    stands = found
    for leg in plan.legs():
        if leg[0].kind is Kind.AUTOCOMMIT:
            with store.change(tenant) as site:
                claim(site.joint)  # held while the revision runs elsewhere, so that no other process begins meanwhile
                site.rest()
                with store.online(tenant) as connection, resuming(connection):
                    run(connection, migrations, target, location, only=leg[0])
                    connection.commit()
                _record(site, ledger, leg[-1].after)
        else:
            with store.change(tenant) as site:
                claim(site.joint)
                if online.revision_of(site.connection, migrations.version_table) != stands:
                    raise MigrationFailed(location, leg[0].revision, "another process moved the store meanwhile.")
                from_nothing = stands is None and leg[0].after is not None
                if from_nothing and site.has_table(migrations.version_table):
                    # Left empty by a downgrade to base; a plan from nothing makes it anew.
                    site.connection.execute(DropTable(sa.Table(migrations.version_table, sa.MetaData())))
                _carry_out(site, migrations, leg, target, location)
                if from_nothing:
                    site.protect(migrations.version_table)
                _record(site, ledger, leg[-1].after)
        stands = leg[-1].after
    if not plan.steps and tenant.revision != found:  # plain Alembic, or a kill before the ledger was written
        with store.change(tenant) as site:
            _record(site, ledger, found)
    return found, plan


def _carry_out(site: Site, migrations: Migrations, leg: Sequence[Step], target: str | None, location: str) -> None:
    for kind, group in groupby(leg, key=lambda step: step.kind):
        steps = list(group)
        if kind is Kind.REPLAY:
            try:
                site.send([statement for step in steps for statement in step.statements])
            except StatementFailed as error:
                raise _failed(location, steps, error) from error
        else:
            for step in steps:
                run(site.connection, migrations, target, location, only=step)


def _record(site: Site, ledger: Ledger, revision: str | None) -> None:
    site.record(lambda connection: ledger(connection, revision))


def run(
    connection: sa.Connection,
    migrations: Migrations,
    target: str | None,
    location: str,
    *,
    only: Step | None = None,
    inline: bool = False,
) -> None:
    """Run the revisions on the way to ``target``, or ``only`` that step's, as Python.

    ``inline``: an autocommit_block is run inside the transaction.

    :raises MigrationFailed: one of them raised.
    """
    running = [target or BASE]
    try:
        online.run(
            connection,
            migrations,
            target,
            only=only.revision if only else None,
            on_begin=running.append,
            on_autocommit=(lambda: None) if inline else None,
        )
    except TenancyError:
        raise
    except Exception as error:  # a revision is the application's code and may raise anything
        partly = ("partly",) if only is not None and only.kind is Kind.AUTOCOMMIT else ()
        raise MigrationFailed(location, running[-1], online.explained(error), *partly) from error


def _failed(location: str, steps: Sequence[Step], error: StatementFailed) -> MigrationFailed:
    _, index, reason = error.args
    for step in steps:
        index -= len(step.statements)
        if index < 0:
            return MigrationFailed(location, step.revision, reason)
    return MigrationFailed(location, steps[-1].revision, reason)
