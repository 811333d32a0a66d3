"""``tenantry``: the commands for the application that ``--app`` or ``[tool.tenantry] app`` in ./pyproject.toml names.

The current directory is searched for modules first, as ``python -m`` does. The attribute is a Tenancy, or a callable
without arguments that returns one.
"""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tenantry.cli import (
    add_doctor,
    audit_commands,
    database_commands,
    group,
    platform_commands,
    rollout_commands,
    run,
    tenant_commands,
)
from tenantry.cli.serving import (
    HostOption,
    PortOption,
    TrustedHostOption,
    TrustedProxyOption,
    WorkersOption,
    serve_platform,
    served_settings,
)
from tenantry.errors import DeclarationError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tenantry.tenancy import Tenancy

SERVED = "TENANTRY_SERVED"  # the environment variable that tells worker processes which application to serve
AppOption = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="MODULE:ATTRIBUTE",
        envvar="TENANTRY_APP",
        help="Where the application declares its tenancy. Default: [tool.tenantry] app in ./pyproject.toml.",
    ),
]


def load_tenancy(reference: str) -> Tenancy:
    """Return the tenancy that ``module:attribute`` names.

    :raises DeclarationError: there is no such module or attribute, or it is no tenancy.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise DeclarationError(reference, "expected module:attribute, such as notes:tenancy.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and something that it imports is not
        reason = f"there is no module {module_name!r} in {os.getcwd()} or among the installed packages."
        raise DeclarationError(reference, reason) from error
    found = getattr(module, attribute, None)
    if found is None:
        raise DeclarationError(reference, f"module {module_name!r} has no {attribute!r}.")

    from tenantry.tenancy import Tenancy

    tenancy = found if isinstance(found, Tenancy) or not callable(found) else found()
    if not isinstance(tenancy, Tenancy):
        raise DeclarationError(reference, f"it is a {type(tenancy).__name__}, expected a tenantry.Tenancy.")
    return tenancy


def configured_app(directory: Path) -> str:
    """Return ``[tool.tenantry] app`` of the directory's pyproject.toml.

    :raises DeclarationError: there is none.
    """
    path = directory / "pyproject.toml"
    try:
        configured = tomllib.loads(path.read_text()).get("tool", {}).get("tenantry", {}).get("app")
    except FileNotFoundError:
        configured = None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DeclarationError(str(path), f"it is not valid TOML: {error}.") from error
    if not isinstance(configured, str):
        reason = (
            'which application? Give --app module:attribute, or write app = "module:attribute" under [tool.tenantry].'
        )
        raise DeclarationError(str(path), reason)
    return configured


def show_version(wanted: bool) -> None:
    """Print the version and leave, if asked to."""
    if wanted:
        print(f"tenantry {version('tenantry')}")
        raise typer.Exit


def build() -> typer.Typer:
    """Build the command line."""
    app = group("Provision, migrate and look after the tenants of an application.")
    chosen: list[str] = []

    def open_tenancy() -> Tenancy:
        return load_tenancy(chosen[0] if chosen else configured_app(Path.cwd()))

    @app.callback()
    def main(
        application: AppOption = None,
        show: Annotated[
            bool, typer.Option("--version", is_eager=True, callback=show_version, help="Show the version and exit.")
        ] = False,
    ) -> None:
        if application is not None:
            chosen.append(application)

    @app.command()
    def serve(
        application: AppOption = None,
        host: HostOption = "127.0.0.1",
        port: PortOption = 8000,
        workers: WorkersOption = 1,
        trusted_hosts: TrustedHostOption = [],  # noqa: B006 - Typer makes a new list of it
        trusted_proxies: TrustedProxyOption = [],  # noqa: B006 - as above
    ) -> None:
        """Serve the platform over HTTP: people, tenants, audit."""
        if application is not None:
            chosen[:] = [application]
        os.environ[SERVED] = chosen[0] if chosen else configured_app(Path.cwd())
        serve_platform(
            open_tenancy,
            "tenantry.cli.__main__:served",
            host=host,
            port=port,
            workers=workers,
            trusted_hosts=trusted_hosts,
            trusted_proxies=trusted_proxies,
        )

    app.add_typer(database_commands(open_tenancy), name="db")
    app.add_typer(tenant_commands(open_tenancy), name="tenant")
    app.add_typer(rollout_commands(open_tenancy), name="rollout")
    app.add_typer(platform_commands(open_tenancy), name="platform")
    app.add_typer(audit_commands(open_tenancy), name="audit")
    add_doctor(app, open_tenancy)
    return app


def served() -> FastAPI:
    """The web application of a worker process that ``serve`` began."""
    from tenantry.http.app import platform_app

    return platform_app(load_tenancy(os.environ[SERVED]), settings=served_settings())


def main() -> None:
    """The ``tenantry`` console script."""
    run(build())


if __name__ == "__main__":
    main()
