"""``db``: the control plane's revisions, one tenant's revisions, and the embedded server.

Without ``--tenant-slug`` a command is about the platform: the registry and the application's own tables beside it. No
tenant is touched then; tenants are migrated one by one, by name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from tenantry.cli.output import Column, Listing, say
from tenantry.cli.running import group, opened

if TYPE_CHECKING:
    from tenantry.embedded import EmbeddedPostgres
    from tenantry.migrations import RevisionInfo
    from tenantry.tenancy import Tenancy


class Scope(StrEnum):
    """Whose tables a revision is about."""

    PLATFORM = "platform"
    TENANT = "tenant"


SlugOption = Annotated[str | None, typer.Option("--tenant-slug", help="One tenant. Default: the platform.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def database_commands(
    open_tenancy: Callable[[], Tenancy], embedded: Callable[[], EmbeddedPostgres] | None = None
) -> typer.Typer:
    """Build the ``db`` group of an application; with an embedded server, also ``start`` and ``stop``.

    ``embedded`` is called inside those two commands, and raises a TenancyError where no embedded server is in use.
    """
    app = group("Upgrade, look at and write migrations.")

    @app.command()
    def upgrade(
        revision: Annotated[str, typer.Option(help="The revision to reach.")] = "head",
        tenant_slug: SlugOption = None,
    ) -> None:
        """Make or upgrade the platform's tables, or those of one tenant."""
        with opened(open_tenancy) as tenancy:
            if tenant_slug is None:
                changed = tenancy.initialize(to=revision)
                print("Platform upgraded." if changed else "Platform is up to date.")
            else:
                tenant = tenancy.migrate(tenant_slug, to=revision).tenant
                print(f"Upgraded tenant: {tenant.slug} -> {tenant.location} at {tenant.revision}")

    @app.command()
    def downgrade(
        revision: Annotated[str, typer.Argument(help="The revision to go back to, or `base` for none.")],
        tenant_slug: SlugOption = None,
    ) -> None:
        """Take the platform's tables, or those of one tenant, back to a revision. What it added is lost."""
        with opened(open_tenancy) as tenancy:
            if tenant_slug is None:
                reached = tenancy.downgrade_platform(revision)
                print(f"Downgraded platform: at {reached or 'base'}")
            else:
                tenant = tenancy.downgrade(tenant_slug, revision)
                print(f"Downgraded tenant: {tenant.slug} -> {tenant.location} at {tenant.revision or 'base'}")

    @app.command()
    def current(tenant_slug: SlugOption = None) -> None:
        """Print the revision that the platform, or one tenant, is at."""
        with opened(open_tenancy) as tenancy:
            if tenant_slug is None:
                found, head = tenancy.current_platform(), tenancy.head(scope="platform")
            else:
                found, head = tenancy.current(tenant_slug), tenancy.head()
        if found is None:
            say("No revision has been applied.")
        else:
            print(f"{found} (head)" if found == head else found)

    @app.command()
    def history(
        scope: Annotated[
            Scope | None, typer.Option(help="Whose revisions. Default: the platform's, if it has any of its own.")
        ] = None,
        tenant_slug: SlugOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """List revisions, newest first; those that the tenant of --tenant-slug has are marked with a star."""
        with opened(open_tenancy) as tenancy:
            found = None if tenant_slug is None else tenancy.current(tenant_slug)
            if scope is None:
                scope = Scope.TENANT if tenant_slug or tenancy.platform_migrations is None else Scope.PLATFORM
            revisions = tenancy.history(scope=scope.value)
        _listing(found, {r.revision: r.down_revision for r in revisions}).print(revisions, as_json=as_json)

    @app.command()
    def revision(
        message: Annotated[str, typer.Argument(help="What the revision does, in a few words.")],
        scope: Annotated[Scope, typer.Option(help="Whose tables it changes.")] = Scope.TENANT,
        autogenerate: Annotated[
            bool, typer.Option("--autogenerate", help="Write the difference between models and revisions into it.")
        ] = False,
    ) -> None:
        """Write a new revision file and print its path."""
        # Alembic talks on stdout while it writes; the path alone is the command's data.
        with opened(open_tenancy) as tenancy, redirect_stdout(sys.stderr):
            path = tenancy.new_revision(message, scope=scope.value, autogenerate=autogenerate)
        print(path)

    @app.command()
    def prune() -> None:
        """Remove compiled plans and ready-made files of other builds, a week after they were made. Safe at any time."""
        with opened(open_tenancy) as tenancy:
            removed = tenancy.fleet.leftovers.remove()
        print(f"Removed: {removed}" if removed.plans or removed.templates else "Nothing to remove.")

    if embedded is not None:
        _add_server_commands(app, embedded)
    return app


def _listing(found: str | None, parents: dict[str, str | None]) -> Listing[RevisionInfo]:
    """The listing of revisions; a tenant at ``found`` has that one and all before it."""
    applied: set[str] = set()
    while found is not None and found not in applied:
        applied.add(found)
        found = parents.get(found)
    columns: list[Column[RevisionInfo]] = [
        Column("Revision", lambda r: r.revision, "bold"),
        Column("After", lambda r: r.down_revision or "-"),
        Column("Message", lambda r: r.message),
        Column("Applied", lambda r: "*" if r.revision in applied else None),
    ]
    return Listing(
        columns=columns,
        record=lambda r: (
            {"revision": r.revision, "down_revision": r.down_revision, "message": r.message}
            | ({"applied": r.revision in applied} if applied else {})
        ),
    )


def _add_server_commands(app: typer.Typer, embedded: Callable[[], EmbeddedPostgres]) -> None:
    @app.command()
    def start() -> None:
        """Start the embedded PostgreSQL; it stays up until `stop`."""
        server = embedded()
        print(f"Embedded PostgreSQL is running: {server.start()}")

    @app.command()
    def stop() -> None:
        """Stop the embedded PostgreSQL."""
        server = embedded()
        print("Embedded PostgreSQL stopped." if server.stop() else "Embedded PostgreSQL was not running.")
