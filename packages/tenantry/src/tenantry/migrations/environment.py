"""What an application's env.py runs, so that plain ``alembic`` works on one tenant.

``alembic -x tenant=SLUG upgrade head``, with ``tenancy = module:attribute`` in the ``[alembic]`` section of
alembic.ini. The engine itself never runs an env.py. What plain Alembic does is written into the ledger, but not into
the journal.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from tenantry.errors import DeclarationError, NoTenant
from tenantry.migrations import online
from tenantry.migrations.directory import Migrations


def run(**given: Any) -> None:
    """Run Alembic's command on the tenant that ``-x tenant=SLUG`` names, or on the platform's own tables in their
    directory.

    ``given``: further options of Alembic's ``context.configure``, such as ``include_name``.

    :raises NoTenant: none is named; there is no default.
    """
    from alembic import context

    tenancy = _declared(context.config.get_main_option("tenancy"))
    slug = context.get_x_argument(as_dictionary=True).get("tenant")
    chain: Migrations = tenancy.migrations
    of_platform = (
        tenancy.platform_migrations is not None and str(tenancy.platform_migrations.directory) == context.script.dir
    )
    if of_platform:
        chain = tenancy.platform_migrations
    options: dict[str, Any] = {
        "version_table": chain.version_table,
        "target_metadata": chain.metadata if chain.has_metadata else None,
        "transactional_ddl": True,
        "transaction_per_migration": True,
        "render_as_batch": tenancy.store.dialect_name == "sqlite",
        **given,
    }
    if context.is_offline_mode():
        context.configure(dialect_name=tenancy.store.dialect_name, literal_binds=True, **options)
        with context.begin_transaction():
            context.run_migrations()
        return
    if slug is None and not of_platform:
        raise NoTenant()
    with _connection(tenancy, slug, of_platform) as connection:
        context.configure(connection=connection, **options)
        with context.begin_transaction():
            context.run_migrations()
        if not of_platform:
            connection.commit()
            tenancy.registry.set_revision(slug, online.revision_of(connection, chain.version_table))


@contextmanager
def _connection(tenancy: Any, slug: str | None, of_platform: bool) -> Iterator[sa.Connection]:
    if of_platform:
        with tenancy.store.control() as connection:
            yield connection
    else:
        with tenancy.store.online(tenancy.get(slug)) as connection:
            yield connection


def _declared(name: str | None) -> Any:
    """The application's Tenancy; typed as Any, since the facade stands above this module."""
    if not name:
        raise DeclarationError("alembic.ini", "its [alembic] section must say `tenancy = module:attribute`.")
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        raise DeclarationError(name, f"expected module:attribute of a Tenancy ({error}).") from error
    return found() if callable(found) else found
