"""``snapshot``: renew the copies of set-up that are frozen with patients, requests, samples and results; take it back.

Without a tenant the one of DEFAULT_TENANT_SLUG is meant, else every active tenant in turn, one outcome each; without a
laboratory all of a tenant's. What a run did can be reverted by the number that it prints.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tenantry.cli import group, opened, say

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext
    from tenantry import Tenancy

TenantOption = Annotated[
    str | None,
    typer.Option("--tenant-slug", help="One tenant. Default: that of DEFAULT_TENANT_SLUG, else every active one."),
]
LabOption = Annotated[str | None, typer.Option("--lab", help="One laboratory, by its name, code or uid. Default: all.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Kept with every new version.")]
SlugOption = Annotated[str, typer.Option("--tenant-slug", help="The tenant.")]

UNSAID = "renewed from the command line"  # the reason where none is given

Open = Callable[[], "Tenancy"]
Work = Callable[["Session", "LabContext", Sequence[str]], str]  # of one tenant and its laboratories: what to print


def at_a_terminal() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def snapshot_commands(open_tenancy: Open) -> typer.Typer:
    """The group of commands."""
    commands = group("Renew the copies of set-up that are frozen with the laboratory's work.")

    @commands.callback()
    def snapshots() -> None:
        """Renew the copies of set-up that are frozen with the laboratory's work."""

    @commands.command()
    def patients(tenant_slug: TenantOption = None, lab: LabOption = None, reason: ReasonOption = None) -> None:
        """Renew the copies of all patients: their clients and places."""
        _refresh(open_tenancy, "patients", tenant_slug, lab, reason)

    @commands.command()
    def analysis_requests(tenant_slug: TenantOption = None, lab: LabOption = None, reason: ReasonOption = None) -> None:
        """Renew the copies of requests of which no sample is approved."""
        _refresh(open_tenancy, "analysis-requests", tenant_slug, lab, reason)

    @commands.command()
    def samples(tenant_slug: TenantOption = None, lab: LabOption = None, reason: ReasonOption = None) -> None:
        """Renew the copies of samples that are not submitted yet, and of their pending results."""
        _refresh(open_tenancy, "samples", tenant_slug, lab, reason)

    @commands.command()
    def analyses(tenant_slug: TenantOption = None, lab: LabOption = None, reason: ReasonOption = None) -> None:
        """Renew the copies of pending results of samples that are not submitted yet."""
        _refresh(open_tenancy, "analyses", tenant_slug, lab, reason)

    @commands.command()
    def refresh_all(tenant_slug: TenantOption = None, lab: LabOption = None, reason: ReasonOption = None) -> None:
        """Renew the copies of all work that is not submitted yet: requests, samples and results."""
        _refresh(open_tenancy, "refresh-all", tenant_slug, lab, reason)

    @commands.command()
    def hard_refresh(
        tenant_slug: TenantOption = None,
        lab: LabOption = None,
        reason: ReasonOption = None,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask, at a terminal either.")] = False,
    ) -> None:
        """Renew the copies of ALL work, published too. Older versions stay, and `snapshot revert` goes back.

        At a terminal it asks first; in a script it tells what it touches.
        """
        _show(open_tenancy, tenant_slug, lab)
        if at_a_terminal() and not yes:
            typer.confirm("Renew all these?", abort=True, err=True)
            reason = reason or typer.prompt("Reason, kept with every new version", default=UNSAID, err=True)
        _refresh(open_tenancy, "hard-refresh", tenant_slug, lab, reason or UNSAID)

    @commands.command()
    def revert(
        run: Annotated[str, typer.Argument(help="The run, as the refresh printed it or `snapshot runs` lists it.")],
        tenant_slug: SlugOption,
        reason: Annotated[str, typer.Option("--reason", help="Kept with every version.")],
    ) -> None:
        """Give every row of a run the version it had before. Rows with a newer version since are left."""
        from beak_lims.snapshots import refreshing

        def work(session: Session, context: LabContext, laboratories: Sequence[str]) -> str:
            done = refreshing.revert(session, context, run, reason)
            return f"reverted {done.reverted}\tleft {done.left}\trun {done.run_uid}"

        _perform(open_tenancy, tenant_slug, None, work)

    @commands.command()
    def runs(tenant_slug: SlugOption) -> None:
        """List the refreshes and reverts of a tenant, newest first: run, when, what, rows, by whom, why."""
        from beak_lims.snapshots.refreshing import runs_of

        with opened(open_tenancy) as tenancy, _session(tenancy, tenant_slug) as (session, _):
            listed = runs_of(session)
        for one in listed:
            what = (
                one.run_uid,
                f"{one.at:%Y-%m-%d %H:%M}",
                one.occasion,
                str(one.rows),
                one.taken_by,
                one.reason or "",
            )
            typer.echo("\t".join(what))

    return commands


def _refresh(open_tenancy: Open, scope: str, slug: str | None, lab: str | None, reason: str | None) -> None:
    from beak_lims.snapshots.refreshing import Scope, refresh

    def work(session: Session, context: LabContext, laboratories: Sequence[str]) -> str:
        done = refresh(session, context, Scope(scope), laboratories, reason)
        counts = [f"{subject} {count} of {done.seen[subject]}" for subject, count in done.renewed.items()]
        return "\t".join([*counts, f"run {done.run_uid}"])

    _perform(open_tenancy, slug, lab, work)


def _show(open_tenancy: Open, slug: str | None, lab: str | None) -> None:
    """Say what a hard refresh would touch."""
    from beak_lims.snapshots.refreshing import Scope, touched

    def work(session: Session, context: LabContext, laboratories: Sequence[str]) -> str:
        counts = touched(session, Scope.HARD, laboratories)
        return "\t".join(f"{what} {count}" for what, count in counts.items())

    _perform(open_tenancy, slug, lab, work, talk=True)


def _perform(open_tenancy: Open, slug: str | None, lab: str | None, work: Work, *, talk: bool = False) -> None:
    """Do the work on the tenants that are meant, each in a transaction of its own; print one outcome each.

    :raises typer.Exit: it failed on one of several tenants.
    """

    def on_one(tenancy: Tenancy, one: str) -> str:
        with _session(tenancy, one) as (session, context):
            return work(session, context, laboratories_of(session, lab))

    perform(open_tenancy, slug, on_one, talk=talk)


def perform(open_tenancy: Open, slug: str | None, work: Callable[[Tenancy, str], str], *, talk: bool = False) -> None:
    """Do work on the tenants that are meant, given by slug; print what it says of each.

    :raises typer.Exit: it failed on one of several tenants.
    """
    from beak_lims.seeds.running import targets
    from beak_lims.settings import load_settings
    from tenantry.errors import TenancyError

    failed = False
    with opened(open_tenancy) as tenancy:
        slugs = targets(tenancy, slug, load_settings().default_tenant_slug)
        if not slugs:
            say("No active tenants found.")
        for one in slugs:
            try:
                done = work(tenancy, one)
            except TenancyError as error:
                if len(slugs) == 1:
                    raise
                failed = True
                say(f"error: {one}: {error}")
                typer.echo(f"{one}\tfailed")
            else:
                (say if talk else typer.echo)(f"{one}\t{done}")
    if failed:
        raise typer.Exit(1)


@contextmanager
def _session(tenancy: Tenancy, slug: str) -> Iterator[tuple[Session, LabContext]]:
    """A session on one tenant, of the person at the command line."""
    from beak_lims.context import LabContext
    from tenantry.registry.actor import current
    from tenantry.stores.faults import faults

    location = tenancy.store.describe(tenancy.get(slug).location)
    with faults(location), tenancy.session(slug) as session:
        yield session, LabContext(slug, user_name=current().name)


def laboratories_of(session: Session, lab: str | None) -> list[str]:
    """The uids of the laboratories that are meant. :raises RecordNotFound: there is none of that name."""
    from sqlalchemy import or_, select

    from beak_lims.errors import RecordNotFound
    from beak_lims.models import Laboratory

    wanted = select(Laboratory.uid)
    if lab is not None:
        wanted = wanted.where(or_(Laboratory.name == lab, Laboratory.code == lab, Laboratory.uid == lab))
    found = list(session.scalars(wanted))
    if not found:
        raise RecordNotFound("laboratory", lab or "any")
    return found
