"""``serve``: the platform's HTTP server for an application, on loopback unless told otherwise.

What can be refused is refused before anything is served: a registry that is missing, an address that is taken. FastAPI
and uvicorn are loaded by the command alone.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from tenantry.cli.output import say
from tenantry.cli.running import opened
from tenantry.errors import DeclarationError

if TYPE_CHECKING:
    from tenantry.http.settings import HttpSettings
    from tenantry.tenancy import Tenancy

SETTINGS = "TENANTRY_HTTP"  # the environment variable that carries the settings to worker processes
METRICS_TOKEN = "TENANTRY_METRICS_TOKEN"  # noqa: S105 - the variable's name

HostOption = Annotated[str, typer.Option(help="The address to listen on.")]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")]
WorkersOption = Annotated[int, typer.Option(min=1, max=64, help="Processes that serve.")]
TrustedHostOption = Annotated[
    list[str],
    typer.Option(
        "--trusted-host",
        envvar="TENANTRY_TRUSTED_HOSTS",
        help="A name under which clients reach the server, or *.name. Again for each. Those of loopback always may.",
    ),
]
TrustedProxyOption = Annotated[
    list[str],
    typer.Option(
        "--trusted-proxy",
        envvar="TENANTRY_TRUSTED_PROXIES",
        help="The address or network of a proxy whose X-Forwarded-For is believed. Again for each.",
    ),
]


def serve_platform(
    open_tenancy: Callable[[], Tenancy],
    factory: str,
    *,
    host: str,
    port: int,
    workers: int,
    trusted_hosts: list[str],
    trusted_proxies: list[str],
) -> None:
    """Serve what ``factory`` (``module:function``) makes, until told to stop.

    :raises DeclarationError: an option cannot be used, or the extra ``http`` is not installed.
    :raises RegistryMissing, RegistryOutdated: the control plane is not this build's.
    """
    try:
        from tenantry.http.serving import serve
        from tenantry.http.settings import LOOPBACK, HttpSettings
    except ModuleNotFoundError as error:
        raise DeclarationError("serve", f"it needs `pip install tenantry[http]` ({error.name} is missing).") from error
    own = () if _is_wildcard(host) else (f"[{host}]" if ":" in host else host,)
    settings = HttpSettings(
        trusted_hosts=tuple(dict.fromkeys([*LOOPBACK, *own, *trusted_hosts])),
        trusted_proxies=tuple(trusted_proxies),
        metrics_token=os.environ.get(METRICS_TOKEN) or None,
    )
    with opened(open_tenancy) as tenancy:
        tenancy.registry.check()
    os.environ[SETTINGS] = settings.dumped()
    if not _is_loopback(host):
        say("Serving beyond this machine, without TLS: let only a proxy that adds it reach this port.")
    say(f"Serving on http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C stops)")
    serve(factory, host=host, port=port, workers=workers)


def served_settings() -> HttpSettings:
    """The settings that the command gave this worker process."""
    from tenantry.http.settings import HttpSettings

    return HttpSettings.loaded(os.environ[SETTINGS])


def _is_wildcard(host: str) -> bool:
    return host in ("0.0.0.0", "::", "")  # noqa: S104 - recognised, not bound to


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
