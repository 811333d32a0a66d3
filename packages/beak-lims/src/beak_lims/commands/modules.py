"""``tenant modules``: which fields of work an organisation is in, shown and switched."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from tenantry.cli import opened

if TYPE_CHECKING:
    from beak_lims.modules import Modules
    from tenantry import Tenancy

SlugOption = Annotated[str, typer.Option("--slug", help="The tenant's slug.")]
ModuleOption = Annotated[str, typer.Option("--module", help="The module, such as pharma.")]


def add_modules(tenant: typer.Typer, open_tenancy: Callable[[], Tenancy]) -> None:
    """Put the commands that look after modules into the group."""

    @tenant.command()
    def modules(slug: SlugOption) -> None:
        """List a tenant's modules, its industry's first."""
        from beak_lims.modules import modules_of

        with opened(open_tenancy) as tenancy:
            _print(modules_of(tenancy.get(slug)))

    @tenant.command()
    def module_enable(slug: SlugOption, module: ModuleOption) -> None:
        """Switch a module of a tenant on. `seed industry --module` then brings what the module begins with."""
        from beak_lims.modules import enable_module, modules_of

        with opened(open_tenancy) as tenancy:
            _print(modules_of(enable_module(tenancy, slug, module)))

    @tenant.command()
    def module_disable(slug: SlugOption, module: ModuleOption) -> None:
        """Switch a module of a tenant off; nothing that was stored goes."""
        from beak_lims.modules import disable_module, modules_of

        with opened(open_tenancy) as tenancy:
            _print(modules_of(disable_module(tenancy, slug, module)))


def _print(modules: Modules) -> None:
    typer.echo(f"{modules.primary_industry}\tprimary")
    for module in modules.enabled_modules:
        if module != modules.primary_industry:
            typer.echo(f"{module}\tenabled")
