"""``tenant backup|verify-backup|restore|clone|export`` and ``tenant suspend|resume|archive|unarchive|rename|delete``.

Each command parses, calls ``tenancy.archive`` and prints; what may follow what is decided there.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenantry.cli.output import one_line, print_json, say
from tenantry.cli.running import opened

if TYPE_CHECKING:
    from tenantry.archive.lifecycle import Erasure
    from tenantry.archive.saving import Saved
    from tenantry.tenancy import Tenancy

SlugArgument = Annotated[str, typer.Argument(help="The tenant's slug.", show_default=False)]
FileArgument = Annotated[Path, typer.Argument(help="A file that `tenant backup` made.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class ExportFormat(StrEnum):
    """What other programs read."""

    SQLITE = "sqlite"
    CSV = "csv"
    PARQUET = "parquet"


def add_archive_commands(command: Callable[[Callable[..., None]], None], open_tenancy: Callable[[], Tenancy]) -> None:
    """Add the commands about one tenant as a whole; ``command`` registers one."""

    @command
    def backup(
        to: Annotated[Path, typer.Option("--to", help="The directory of the new files.", show_default=False)],
        slug: Annotated[str | None, typer.Argument(help="The tenant's slug.", show_default=False)] = None,
        all_tenants: Annotated[bool, typer.Option("--all", help="Every active and suspended tenant.")] = False,
    ) -> None:
        """Save a tenant to a new file; nobody has to wait for it."""
        if (slug is None) is not all_tenants:
            raise typer.BadParameter("name a tenant, or give --all")
        with opened(open_tenancy) as tenancy:
            if slug is not None:
                print(_saved_line(slug, tenancy.archive.backup(slug, to=to)))
                return
            failed = 0
            for outcome in tenancy.archive.backup_all(to=to):
                if outcome.saved is not None:
                    print(_saved_line(outcome.slug, outcome.saved))
                else:
                    failed += 1
                    say(f"error: {outcome.slug}: {outcome.error}")
        if failed:
            say(f"{failed} tenants were not saved.")
            raise typer.Exit(1)

    @command
    def verify_backup(path: FileArgument, as_json: JsonOption = False) -> None:
        """Read a backup to its end and prove that it is whole. Needs no database."""
        from tenantry.archive.saving import verify

        saved = verify(path)
        if as_json:
            print_json(_told(saved))
            return
        manifest = saved.manifest
        print(f"Whole: {path}")
        print(f"  tenant {manifest.slug} ({one_line(manifest.name)}), saved {manifest.made_at} by {manifest.made_by}")
        print(f"  {manifest.dialect} {manifest.server}, revision {manifest.revision or 'none'}")
        print(f"  {len(manifest.tables)} tables, {manifest.rows} rows, {sum(f.files for f in manifest.files)} files")

    @command
    def restore(
        path: FileArgument,
        slug: Annotated[str | None, typer.Option("--as", help="Another slug than the saved one.")] = None,
    ) -> None:
        """Make a tenant of a backup. A damaged file is refused before anything is made."""
        with opened(open_tenancy) as tenancy:
            tenant = tenancy.archive.restore(path, slug=slug)
            head = tenancy.head()
        print(f"Restored tenant: {tenant.slug} -> {tenant.location} at {tenant.revision} ({tenant.status.value})")
        if tenant.revision != head:
            say(f"It is behind this build: `tenant migrate --slug {tenant.slug}` brings it to {head}.")

    @command
    def clone(
        slug: SlugArgument,
        new: Annotated[str, typer.Argument(help="The slug of the copy.", show_default=False)],
    ) -> None:
        """Make a second tenant with the same data."""
        with opened(open_tenancy) as tenancy:
            tenant = tenancy.archive.clone(slug, new)
        print(f"Cloned tenant: {slug} -> {tenant.slug} in {tenant.location}")

    @command
    def export(
        slug: SlugArgument,
        format: Annotated[ExportFormat, typer.Option(help="What to write.", show_default=False)],
        to: Annotated[
            Path,
            typer.Option("--to", help="A new file (sqlite), or a new directory (csv, parquet).", show_default=False),
        ],
    ) -> None:
        """Write a tenant's tables for other programs to read."""
        with opened(open_tenancy) as tenancy:
            exported = tenancy.archive.export(slug, format=format.value, to=to)
        counted = f"{len(exported.rows)} tables, {sum(exported.rows.values())} rows"
        print(f"Exported tenant: {slug} -> {exported.path} ({counted})")

    @command
    def suspend(slug: SlugArgument) -> None:
        """Serve a tenant no more; its data stay."""
        with opened(open_tenancy) as tenancy:
            tenant = tenancy.archive.suspend(slug)
        print(f"Suspended tenant: {tenant.slug}")

    @command
    def resume(slug: SlugArgument) -> None:
        """Serve a suspended tenant again."""
        with opened(open_tenancy) as tenancy:
            tenant = tenancy.archive.resume(slug)
        print(f"Resumed tenant: {tenant.slug}")

    @command
    def archive(
        slug: SlugArgument,
        to: Annotated[
            Path | None, typer.Option("--to", help="The directory of the file. Default: the application's.")
        ] = None,
    ) -> None:
        """Save a tenant to a file and remove its schema or file; its record stays."""
        with opened(open_tenancy) as tenancy:
            archived = tenancy.archive.archive(slug, to=to)
        print(f"Archived tenant: {slug} -> {archived.path}")

    @command
    def unarchive(
        slug: SlugArgument,
        path: Annotated[
            Path | None, typer.Option("--from", help="Another file than the one it was archived to.")
        ] = None,
    ) -> None:
        """Bring an archived tenant back."""
        with opened(open_tenancy) as tenancy:
            tenant = tenancy.archive.unarchive(slug, path=path)
        print(f"Unarchived tenant: {tenant.slug} -> {tenant.location} at {tenant.revision} ({tenant.status.value})")

    @command
    def rename(
        slug: SlugArgument,
        new: Annotated[str, typer.Argument(help="The new slug.", show_default=False)],
    ) -> None:
        """Give a tenant another slug, with its schema or file, its role and its files."""
        with opened(open_tenancy) as tenancy:
            tenant = tenancy.archive.rename(slug, new)
        print(f"Renamed tenant: {slug} -> {tenant.slug} in {tenant.location}")

    @command
    def delete(
        slug: SlugArgument,
        confirm: Annotated[str, typer.Option("--confirm", help="The slug once more.", show_default=False)],
        as_json: JsonOption = False,
    ) -> None:
        """Remove an archived or failed tenant for good, and report what was removed."""
        with opened(open_tenancy) as tenancy:
            erasure = tenancy.archive.delete(slug, confirm=confirm)
        if as_json:
            print_json({"slug": slug} | erasure.details())
        else:
            _print_erasure(erasure)


def _saved_line(slug: str, saved: Saved) -> str:
    return f"Saved tenant: {slug} -> {saved.path} ({saved.manifest.rows} rows, {saved.size} bytes)"


def _told(saved: Saved) -> dict[str, Any]:
    manifest = saved.manifest
    return {
        "path": str(saved.path),
        "bytes": saved.size,
        "slug": manifest.slug,
        "name": manifest.name,
        "made_at": manifest.made_at,
        "dialect": manifest.dialect,
        "revision": manifest.revision,
        "fingerprint": manifest.fingerprint,
        "tables": [{"name": t.name, "rows": t.rows, "sha256": t.sha256} for t in manifest.tables],
        "files": [{"kind": f.provider, "files": f.files, "sha256": f.sha256} for f in manifest.files],
    }


def _print_erasure(erasure: Erasure) -> None:
    print(f"Deleted tenant: {erasure.slug}")
    for entry in erasure.removed:
        counted = ", ".join(f"{entry[name]} {name}" for name in ("rows", "files", "bytes") if name in entry)
        hashed = f" sha256 {entry['sha256']}" if "sha256" in entry else ""
        print(f"  removed {entry['what']} {one_line(str(entry['where']))}{f': {counted}' if counted else ''}{hashed}")
    for path in erasure.kept:
        print(f"  kept    backup {one_line(path)}")
    if erasure.kept:
        say("Backups outlive their tenant: remove those that may not.")
