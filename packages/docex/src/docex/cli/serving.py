"""``serve`` and ``token``: the HTTP service and who may use it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from docex.cli.opening import TenantOption, opened
from docex.cli.output import Format, FormatOption, print_rows
from tenantry.cli import group, say

COLUMNS = ("id", "name", "user_id", "roles", "created_at", "expires_at", "revoked_at")

app = group("Tokens with which programs work over HTTP.")


@app.command("create")
def create_token(
    name: Annotated[str, typer.Option(help="What it is for.")],
    user: Annotated[str, typer.Option(help="Whose work it is: written with every change.")],
    role: Annotated[list[str], typer.Option(help="reader, editor or admin; may be given several times.")],
    tenant_id: TenantOption = None,
    days: Annotated[float | None, typer.Option(help="For how long it is good. Default: until it is revoked.")] = None,
) -> None:
    """Make a token and print its id and the token. It is shown this once.

    Example: docex token create --tenant-id acme-corp --name scanner --user scanner --role editor
    """
    from docex.services.token_service import TokenService

    made = TokenService(opened(tenant_id).db).create(name, user, role, days)
    print(f"{made.id}\t{made.token}")


@app.command("list")
def list_tokens(tenant_id: TenantOption = None, format: FormatOption = Format.TABLE) -> None:
    """List tokens, newest first, without the tokens themselves."""
    from docex.services.token_service import TokenService

    rows = TokenService(opened(tenant_id).db).list()
    print_rows(rows, format, columns=COLUMNS, simple=("id", "name"))
    if not rows:
        say("No tokens found.")


@app.command("revoke")
def revoke_token(
    token_id: Annotated[str, typer.Option(help="The token's id.")], tenant_id: TenantOption = None
) -> None:
    """Have a token open nothing from now on."""
    from docex.services.token_service import TokenService

    TokenService(opened(tenant_id).db).revoke(token_id)
    say(f"Token {token_id} is revoked.")


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    trusted_host: Annotated[
        list[str] | None, typer.Option(help="A name under which it is reached; may be given several times.")
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None, typer.Option(help="A proxy whose X-Forwarded-For is believed; several times.")
    ] = None,
) -> None:
    """Serve documents over HTTP until stopped (Ctrl-C, SIGTERM). The interface is described at /api/v1/openapi.json.

    Programs come in with tokens: see `docex token create`. TLS is the business of a proxy in front.
    """
    from docex.config.docex_config import DocEXConfig
    from docex.errors import ExtraMissing, NotInitialized

    config = DocEXConfig()
    if not config.exists:
        raise NotInitialized()
    config.validate()
    try:
        from docex.http.app import VARIABLE
        from tenantry.http.serving import serve as run
        from tenantry.http.settings import LOOPBACK, HttpSettings
    except ImportError as error:
        raise ExtraMissing("docex serve", "server") from error
    settings = HttpSettings(
        trusted_hosts=(*LOOPBACK, *(trusted_host or ())), trusted_proxies=tuple(trusted_proxy or ())
    )
    settings.networks()
    os.environ[VARIABLE] = settings.dumped()  # for the processes that it starts
    say(f"DocEX listens on http://{host}:{port}/api/v1")
    run("docex.http.app:from_environment", host=host, port=port, workers=workers)
