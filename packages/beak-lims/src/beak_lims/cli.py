"""``beak-lims``: the platform's bootstrap, its tenants and their laboratories, from the command line.

Each command parses, calls and prints; what may be done is decided below. Whatever can be refused by looking at the
arguments is refused before anything is touched. SQLAlchemy and Alembic are imported by the commands that need them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from beak_lims.commands.importing import import_commands
from beak_lims.commands.modules import add_modules
from beak_lims.commands.publishing import add_publishing
from beak_lims.commands.seeding import add_seeds, words_of
from beak_lims.commands.snapshotting import snapshot_commands
from tenantry.cli import (
    add_doctor,
    audit_commands,
    database_commands,
    group,
    opened,
    platform_commands,
    print_provisioned,
    rollout_commands,
    run,
    say,
    tenant_commands,
)
from tenantry.cli.serving import (
    HostOption,
    PortOption,
    TrustedHostOption,
    TrustedProxyOption,
    WorkersOption,
    serve_platform,
)

if TYPE_CHECKING:
    from tenantry import Tenancy
    from tenantry.embedded import EmbeddedPostgres

SUPERUSER_EMAIL = "administrator@localhost"  # of the platform's first administrator, when no one is named


def open_tenancy() -> Tenancy:
    """The tenancy that the settings describe."""
    from beak_lims.tenancy import tenancy

    return tenancy()


def open_embedded() -> EmbeddedPostgres:
    """The embedded server of this installation. :raises SettingRejected: another server is set."""
    from beak_lims.errors import SettingRejected
    from beak_lims.settings import load_settings
    from beak_lims.tenancy import embedded

    settings = load_settings()
    if settings.database_url is not None:
        raise SettingRejected("BEAK_DATABASE_URL", "it is set, so no embedded server is used; start that one instead.")
    return embedded(settings)


app = group("Beak LIMS: laboratories of many organisations, each organisation in a schema of its own.")
seed = group("Fill in what the platform begins with.")
server = group("Serve Beak LIMS over HTTP.")
tenant = tenant_commands(open_tenancy, omit=frozenset({"provision"}))

SlugOption = Annotated[str, typer.Option("--slug", help="The tenant's slug.")]


@seed.callback()
def seed_group() -> None:
    """Fill in what the platform begins with."""


@seed.command()
def platform_superuser(
    email: Annotated[str | None, typer.Option(help="Default: PLATFORM_SUPERUSER_EMAIL.")] = None,
    username: Annotated[
        str | None, typer.Option(help="Default: PLATFORM_SUPERUSER_USERNAME, else the email up to its @.")
    ] = None,
    password: Annotated[
        str | None, typer.Option(help="Default: PLATFORM_SUPERUSER_PASSWORD, else one is made and printed once.")
    ] = None,
) -> None:
    """Make the platform's administrator, or reset the password of the one with that email."""
    from beak_lims.settings import load_settings

    settings = load_settings()
    email = email or settings.platform_superuser_email or SUPERUSER_EMAIL
    username = username or settings.platform_superuser_username or email.partition("@")[0]
    if password is None and settings.platform_superuser_password is not None:
        password = settings.platform_superuser_password.get_secret_value()
    with opened(open_tenancy) as tenancy:
        seeded = tenancy.iam.ensure_superuser(email=email, username=username, password=password)
    done = "Created" if seeded.created else "Updated"
    typer.echo(f"{done} platform superuser: {seeded.user.email} (user name {seeded.user.username})")
    if seeded.password_generated is not None:
        typer.echo(f"Password: {seeded.password_generated}")
        say("This is shown only once.")


add_seeds(seed, open_tenancy)


@tenant.command()
def provision(
    name: Annotated[str, typer.Option(help="The organisation's name.")],
    slug: SlugOption,
    admin_email: Annotated[
        str | None, typer.Option(help="The tenant's administrator, made with a one-time password.")
    ] = None,
    initial_lab_name: Annotated[
        str | None, typer.Option(help="The organisation's first laboratory. Default: `<name> Main Lab`.")
    ] = None,
    industry: Annotated[
        str | None, typer.Option(help="Its field of work. Default: DEFAULT_PRIMARY_INDUSTRY, else clinical.")
    ] = None,
    enable_module: Annotated[
        list[str], typer.Option(help="A module beside `core` and the industry's; may be given again.")
    ] = [],  # noqa: B006 - Typer makes a new list of it
    seed_scopes: Annotated[
        list[str], typer.Option("--seed", help="Scopes to seed with commas: core, clinical. Default: none.")
    ] = [],  # noqa: B006 - as above
    no_seed: Annotated[bool, typer.Option("--no-seed", help="Seed no scope, as by default.")] = False,
) -> None:
    """Make a new tenant, ready to use: its schema, its organisation and its first laboratory."""
    from beak_lims.inputs import parse_email, parse_laboratory_name, parse_name
    from beak_lims.modules import attributes_of
    from beak_lims.settings import load_settings

    if no_seed and seed_scopes:
        raise typer.BadParameter("Use either --no-seed or --seed, not both.")
    name = parse_name("Name", name)
    options: dict[str, object] = {"initial_lab_name": parse_laboratory_name(initial_lab_name, organization=name)}
    if seed_scopes:
        from beak_lims.seeds.scopes import parse_scopes

        options["seed_scopes"] = parse_scopes(word for text in seed_scopes for word in words_of(text))
    attributes = attributes_of(industry, enable_module, default=load_settings().default_primary_industry)
    if admin_email is not None:
        admin_email = parse_email(admin_email)
    with opened(open_tenancy) as tenancy:
        provisioned = tenancy.provision(
            slug, name=name, admin_email=admin_email, attributes=attributes, options=options
        )
    print_provisioned(provisioned)
    if admin_email is None:
        say(
            "No administrator was made, as no --admin-email was given. "
            f"`beak-lims tenant add-admin --slug {slug} --email ADDRESS` makes one."
        )


add_modules(tenant, open_tenancy)


@tenant.command()
def add_lab(
    slug: SlugOption,
    name: Annotated[str, typer.Option(help="The laboratory's name.")],
    setup_name: Annotated[str, typer.Option(help="The organisation, by its setup name.")] = "beak",
) -> None:
    """Give a tenant's organisation a laboratory; one of that name that is there is left as it is."""
    from beak_lims.laboratories import add_laboratory

    with opened(open_tenancy) as tenancy:
        added = add_laboratory(tenancy, slug, name, setup_name)
    done = "created" if added.created else "already existed"
    typer.echo(f"Laboratory {done}: {added.laboratory_name} -> {added.schema_name} ({added.laboratory_uid})")


@tenant.command()
def add_admin(
    slug: SlugOption,
    email: Annotated[str, typer.Option(help="The administrator's email.")],
    reset_password: Annotated[
        bool, typer.Option("--reset-password", help="Give a user who is there a new one-time password.")
    ] = False,
) -> None:
    """Make an administrator of a tenant; print the one-time password, once."""
    from beak_lims.administrators import add_administrator

    with opened(open_tenancy) as tenancy:
        password = add_administrator(tenancy, slug, email, reset_password=reset_password)
    typer.echo(f"Administrator: {email.strip().lower()}")
    typer.echo(f"One-time password: {password}")
    say("This is shown only once.")


@server.callback()
def server_group() -> None:
    """Serve Beak LIMS over HTTP."""


@server.command(name="run")
def server_run(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    workers: WorkersOption = 1,
    trusted_hosts: TrustedHostOption = [],  # noqa: B006 - Typer makes a new list of it
    trusted_proxies: TrustedProxyOption = [],  # noqa: B006 - as above
) -> None:
    """Serve the laboratories below /api/v1, and the platform's doors below /api/v1/platform."""
    serve_platform(
        open_tenancy,
        "beak_lims.http:served",
        host=host,
        port=port,
        workers=workers,
        trusted_hosts=trusted_hosts,
        trusted_proxies=trusted_proxies,
    )


app.add_typer(server, name="server")
app.add_typer(database_commands(open_tenancy, open_embedded), name="db")
app.add_typer(seed, name="seed")
app.add_typer(tenant, name="tenant")
app.add_typer(rollout_commands(open_tenancy), name="rollout")
app.add_typer(import_commands(open_tenancy), name="import")
app.add_typer(snapshot_commands(open_tenancy), name="snapshot")
app.add_typer(platform_commands(open_tenancy), name="platform")
app.add_typer(audit_commands(open_tenancy), name="audit")
add_publishing(app, open_tenancy)
add_doctor(app, open_tenancy)


def main() -> None:
    """The ``beak-lims`` console script."""
    run(app)
