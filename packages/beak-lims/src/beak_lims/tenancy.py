"""Beak LIMS declared to the engine: where its tenants lie, what they are made of, and when one is ready.

Nothing connects before the first use, and nothing heavy is imported by importing this module.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from beak_lims.crypto import configure, keyring_of
from beak_lims.settings import Settings, load_settings
from tenantry import Migrations, PostgresSchemas, SlugRule, Tenancy
from tenantry.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from tenantry import Seeding

SLUG = r"[a-z][a-z0-9_]{0,62}"
DATABASE = "beak_lims"  # of the embedded server
# Kept open by a process: one for each thread that a server works with (see ``api.served``). What is opened beyond them
# is closed after each use, and a new connection costs more than most requests.
CONNECTIONS = 12


@cache
def tenancy() -> Tenancy:
    """The tenancy that the settings describe, made once a process.

    :raises SettingRejected: a setting cannot be used.
    """
    return declare(load_settings())


def declare(settings: Settings) -> Tenancy:
    """The tenancy of an installation with these settings."""
    configure(lambda: keyring_of(settings))
    prefix, platform = settings.tenant_schema_prefix, settings.platform_schema
    # The one slug whose schema would be the platform's own.
    taken = frozenset({platform.removeprefix(prefix)} if platform.startswith(prefix) else ())
    return Tenancy(
        store=PostgresSchemas(
            lambda: database_url(settings),
            name=prefix + "{slug}",
            platform=platform,
            role_per_tenant=settings.tenant_roles,
            slugs=SlugRule(SLUG, f"Slug must match ^{SLUG}$", taken),
            pool_size=CONNECTIONS,
            name_in_statements=False,  # a sample's way alone takes half as many statements as a connection keeps
        ),
        migrations=Migrations("beak_lims:migrations/tenant", metadata="beak_lims.models:metadata"),
        platform_migrations=Migrations("beak_lims:migrations/platform", metadata="beak_lims.models.platform:metadata"),
        readiness=("organization",),
        seeds=[baseline, chosen_scopes],
        secret_key=settings.secret_key,
        home=settings.home,
    )


def database_url(settings: Settings) -> str:
    """The URL of the database, that of the embedded server unless another is set.

    The embedded server is started if need be.
    """
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return embedded(settings).start(DATABASE)


def embedded(settings: Settings) -> EmbeddedPostgres:
    """The PostgreSQL that serves this installation when no other is set."""
    return EmbeddedPostgres(settings.home / "postgres")


def baseline(seeding: Seeding) -> None:
    """The seed of every new tenant."""
    from beak_lims.seeds.baseline import seed

    seed(seeding)


def chosen_scopes(seeding: Seeding) -> None:
    """The scopes that ``options["seed_scopes"]`` names, after the baseline; none without."""
    scopes = seeding.options.get("seed_scopes") or ()
    if scopes:
        from beak_lims.seeds.scopes import parse_scopes, seed

        seed(seeding.session, parse_scopes(scopes))
