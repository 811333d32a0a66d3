"""``route``: make, list, show, try, switch and delete routes, and send documents over them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from docex.cli.opening import LimitOption, TenantOption, opened, parsed
from docex.cli.output import Format, FormatOption, print_rows
from tenantry.cli import group, say

if TYPE_CHECKING:
    from docex.transport.route import Route
    from docex.transport.transport_result import TransportResult

COLUMNS = ("name", "protocol", "purpose", "enabled", "allows", "other_party_name", "priority")
OPERATION_COLUMNS = ("created_at", "route", "type", "status", "document_id", "error")

NameOption = Annotated[str, typer.Option("--name", help="The route.")]
RouteOption = Annotated[str, typer.Option("--route", "--name", help="The route.")]

app = group("Ways on which documents leave and files arrive: over files, SFTP, HTTP and S3.")


@app.command("create")
def create_route(
    name: Annotated[str, typer.Option(help="What it is called.")],
    type: Annotated[str, typer.Option(help="local, sftp, http or s3.")],
    config: Annotated[
        str, typer.Option(help="Its configuration as a JSON object; '-' reads it from stdin, where no password shows.")
    ],
    tenant_id: TenantOption = None,
    purpose: Annotated[str, typer.Option(help="What it is for.")] = "distribution",
    upload: Annotated[bool, typer.Option("--upload/--no-upload", help="Files may be sent.")] = True,
    download: Annotated[bool, typer.Option("--download/--no-download", help="Files may be fetched.")] = True,
    list: Annotated[bool, typer.Option("--list/--no-list", help="Files may be listed.")] = True,
    delete: Annotated[bool, typer.Option("--delete/--no-delete", help="Files may be deleted.")] = False,
    disabled: Annotated[bool, typer.Option("--disabled", help="Not to be used yet.")] = False,
    other_party: Annotated[str | None, typer.Option(help="Whom it connects to, as JSON: id, name, type.")] = None,
    priority: Annotated[int, typer.Option(min=0, help="The highest is listed first.")] = 0,
) -> None:
    """Make a route and print its id and name. Passwords and keys are sealed before they are stored.

    Example: docex route create --name backup --type local --config '{"base_path": "/srv/backup"}'
    """
    given = parsed(sys.stdin.read() if config == "-" else config, "--config")
    route = opened(tenant_id).create_route(
        name,
        type,
        given,
        purpose=purpose,
        can_upload=upload,
        can_download=download,
        can_list=list,
        can_delete=delete,
        enabled=not disabled,
        other_party=None if other_party is None else parsed(other_party, "--other-party"),
        priority=priority,
    )
    print(f"{route.route_id}\t{route.name}")


@app.command("list")
def list_routes(
    tenant_id: TenantOption = None,
    purpose: Annotated[str | None, typer.Option(help="Only routes for this.")] = None,
    type: Annotated[str | None, typer.Option(help="Only routes of this type.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List routes, those of higher priority first."""
    rows = [_row(route) for route in opened(tenant_id).list_routes(purpose, type)]
    print_rows(rows, format, columns=COLUMNS, simple=("route_id", "name"))
    if not rows:
        say("No routes found.")


@app.command("get")
def get_route(name: NameOption, tenant_id: TenantOption = None, format: FormatOption = Format.TABLE) -> None:
    """Show a route with its configuration, passwords and keys masked."""
    details = _route(tenant_id, name).to_dict()
    if format is Format.TABLE:
        rows = [{"field": field, "value": value} for field, value in details.items()]
        print_rows(rows, format, columns=("field", "value"), simple=())
    else:
        print_rows([details], format, columns=(), simple=("route_id", "name"))


@app.command("test")
def try_route(name: NameOption, tenant_id: TenantOption = None) -> None:
    """Try whether the other side can be reached and lets us in."""
    _tell(asyncio.run(_route(tenant_id, name).validate()))


@app.command("enable")
def enable_route(name: NameOption, tenant_id: TenantOption = None) -> None:
    """Let a route be used."""
    opened(tenant_id).enable_route(name)
    say(f"Route '{name}' is enabled.")


@app.command("disable")
def disable_route(name: NameOption, tenant_id: TenantOption = None) -> None:
    """Let a route be used no more."""
    opened(tenant_id).enable_route(name, enabled=False)
    say(f"Route '{name}' is disabled.")


@app.command("delete")
def delete_route(
    name: NameOption,
    confirm: Annotated[str, typer.Option(help="The route's name again.")],
    tenant_id: TenantOption = None,
) -> None:
    """Delete a route and the record of its use. What documents say of having been sent stays."""
    from docex.errors import RouteNotFound

    if confirm != name:
        raise typer.BadParameter(f"expected the route's name again, {name!r}", param_hint="--confirm")
    if not opened(tenant_id).delete_route(name):
        raise RouteNotFound(name)
    say(f"Route '{name}' is deleted.")


@app.command("send")
def send_document(
    route: RouteOption,
    document_id: Annotated[str, typer.Option(help="The document.")],
    tenant_id: TenantOption = None,
    destination: Annotated[str | None, typer.Option(help="Its path there. Default: the document's name.")] = None,
) -> None:
    """Send a document's stored bytes; its status becomes SENT."""
    _tell(opened(tenant_id).send_document(document_id, route, destination))


@app.command("download")
def download_file(
    route: RouteOption,
    path: Annotated[str, typer.Option(help="The file there.")],
    to: Annotated[Path, typer.Option(help="The file here; one that is there is replaced.")],
    tenant_id: TenantOption = None,
) -> None:
    """Fetch a file."""
    _tell(asyncio.run(_route(tenant_id, route).download(path, to)))


@app.command("files")
def list_files(
    route: RouteOption,
    path: Annotated[str, typer.Option(help="A directory there. Default: the route's own.")] = "",
    tenant_id: TenantOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the files on the other side."""
    result = asyncio.run(_route(tenant_id, route).list_files(path))
    if not result.success:
        _tell(result)
    files = (result.details or {}).get("files", [])
    rows = [{"name": file["name"], "size": file.get("size"), "modified": file.get("modified")} for file in files]
    print_rows(rows, format, columns=("name", "size", "modified"), simple=("name",))
    if not rows:
        say("No files found.")


@app.command("operations")
def list_operations(
    tenant_id: TenantOption = None,
    route: Annotated[str | None, typer.Option(help="Only of this route.")] = None,
    document_id: Annotated[str | None, typer.Option(help="Only with this document.")] = None,
    limit: LimitOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List what was done over routes, newest first."""
    rows = opened(tenant_id).list_route_operations(route, document_id, limit)
    print_rows(rows, format, columns=OPERATION_COLUMNS, simple=("id", "status"))
    if not rows:
        say("No operations found.")


def _route(tenant_id: str | None, name: str) -> Route:
    from docex.errors import RouteNotFound

    route = opened(tenant_id).get_route(name)
    if route is None:
        raise RouteNotFound(name)
    return route


def _row(route: Route) -> dict[str, Any]:
    party = route.other_party
    allows = [what for what in ("upload", "download", "list", "delete") if getattr(route, f"can_{what}")]
    return {
        **route.to_dict(),
        "allows": ", ".join(allows),
        "other_party_name": None if party is None else party.name,
    }


def _tell(result: TransportResult) -> None:
    """Print how it ended. :raises DocexError: it failed."""
    from docex.errors import DocexError

    if not result.success:
        raise result.error if isinstance(result.error, DocexError) else DocexError(result.message)
    details = {name: value for name, value in (result.details or {}).items() if name != "files"}
    say(result.message)
    if details:
        print(json.dumps(details, default=str))
