"""``seed``: what a tenant begins with, laid down again or added to. Every seed may run twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tenantry.cli import opened, say

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.microbiology.catalog import Loaded
    from beak_lims.seeds.running import Outcome, Seeded, Work
    from tenantry import Tenancy

TenantOption = Annotated[
    str | None,
    typer.Option("--tenant-slug", help="One tenant. Default: that of DEFAULT_TENANT_SLUG, else every active one."),
]
FromOption = Annotated[
    Path | None,
    typer.Option("--from", help="A directory of WHONET's tables. Default: the starter set."),
]


def add_seeds(seed: typer.Typer, open_tenancy: Callable[[], Tenancy]) -> None:
    """Put the commands that fill tenants into the group."""

    @seed.command()
    def microbiology(tenant_slug: TenantOption = None, directory: FromOption = None) -> None:
        """Load organisms, antibiotics, breakpoints, control ranges and rules; a newer table updates an older one."""
        from beak_lims.seeds import microbiology as tables

        catalog = tables.tables(directory)
        for table in catalog.tables:
            for rejected in table.source.rejected:
                say(str(rejected))
        for note in catalog.notes():
            say(note)

        perform(
            open_tenancy,
            tenant_slug,
            lambda session, slug: tables.seed(session, catalog, progress=progress_of(slug)),
        )

    @seed.command(name="all")
    def everything(
        tenant_slug: TenantOption = None,
        scopes: Annotated[
            str | None, typer.Option("--seed", help="Scopes with commas: core, clinical. Default: both.")
        ] = None,
    ) -> None:
        """Seed a tenant with all that there is: its set-up, and microbiology from the starter set."""
        from beak_lims.seeds.scopes import SCOPES, parse_scopes, seed

        chosen = SCOPES if scopes is None else parse_scopes(words_of(scopes))
        perform(open_tenancy, tenant_slug, lambda session, slug: seed(session, chosen, progress=progress_of(slug)))

    @seed.command()
    def core(tenant_slug: TenantOption = None) -> None:
        """Seed the set-up of any laboratory: places, sample types, analyses, profiles, QC levels, groups."""
        from beak_lims.seeds.scopes import CORE, seed

        perform(open_tenancy, tenant_slug, lambda session, _: seed(session, (CORE,)))

    @seed.command()
    def industry(
        module: Annotated[str, typer.Option("--module", help="The module, such as clinical.")],
        tenant_slug: TenantOption = None,
    ) -> None:
        """Seed what a module begins with, in tenants that have it enabled."""
        from beak_lims.modules import modules_of, parse_module
        from beak_lims.seeds.scopes import SCOPES, seed

        parse_module(module)
        if module not in SCOPES:
            say(f"Module '{module}' has no seeds.")

        def work(session: Session, slug: str) -> Sequence[Seeded]:
            modules_of(tenancy_of(slug)).require(module)
            return seed(session, tuple(scope for scope in SCOPES if scope == module), progress=progress_of(slug))

        with opened(open_tenancy) as tenancy:
            tenancy_of = tenancy.get
            perform(lambda: tenancy, tenant_slug, work)


def progress_of(slug: str) -> Callable[[Loaded], None]:
    """Tells of each reference table of a tenant once it is in."""

    def tell(done: Loaded) -> None:
        say(f"{slug}: {done.file}: {done.added + done.changed + done.unchanged} rows, {done.seconds:.1f} s")

    return tell


def perform(open_tenancy: Callable[[], Tenancy], tenant_slug: str | None, work: Work) -> None:
    """Do a seed's work on the tenants that are meant, and print one outcome each.

    :raises typer.Exit: the work failed on one of several tenants.
    """
    from beak_lims.seeds import running
    from beak_lims.settings import load_settings

    failed = 0
    with opened(open_tenancy) as tenancy:
        slugs = running.targets(tenancy, tenant_slug, load_settings().default_tenant_slug)
        if not slugs:
            say("No active tenants found.")
        for outcome in running.run(tenancy, slugs, work):
            failed += outcome.error is not None
            _print(outcome)
    if failed:
        raise typer.Exit(1)


def _print(outcome: Outcome) -> None:
    if outcome.error is not None:
        say(f"error: {outcome.slug}: {outcome.error}")
        typer.echo(f"{outcome.slug}\tfailed")
        return
    typer.echo(f"{outcome.slug}\tseeded\t{_total(outcome)}")
    for seeded in outcome.seeded:
        counts = [
            f"{word} {count}"
            for word in ("added", "changed", "retired", "unchanged", "rejected")
            if (count := getattr(seeded, word))
        ]
        typer.echo("\t".join((outcome.slug, seeded.table, *counts)))


def _total(outcome: Outcome) -> str:
    changes = sum(seeded.added + seeded.changed + seeded.retired for seeded in outcome.seeded)
    return f"{changes} changes" if changes else "nothing to do"


def words_of(text: str) -> Sequence[str]:
    """The words of a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]
