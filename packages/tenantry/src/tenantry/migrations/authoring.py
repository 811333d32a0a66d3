"""Write a new revision file, empty or by comparing the models with a scratch place at head.

No tenant is looked at: what the models are compared with is what the revisions make, not what a tenant may have become.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tenantry.errors import RevisionsRejected
from tenantry.migrations import apply, online
from tenantry.migrations.directory import HEAD, Migrations
from tenantry.stores.base import Store


def new_revision(store: Store, migrations: Migrations, message: str, *, autogenerate: bool) -> Path:
    """Write the file and return its path.

    :raises RevisionsRejected: Alembic refused. :raises DeclarationError: there are no models to compare with.
    """
    from alembic.autogenerate import RevisionContext
    from alembic.runtime.environment import EnvironmentContext
    from alembic.util import CommandError

    wanted: dict[str, Any] = {
        "message": message,
        "autogenerate": autogenerate,
        "sql": False,
        "head": HEAD,
        "splice": False,
        "branch_label": None,
        "version_path": None,
        "rev_id": None,
        "depends_on": None,
    }
    context = RevisionContext(migrations.config, migrations.scripts, wanted)

    def compare(revision: Any, migration_context: Any) -> list[Any]:
        context.run_autogenerate(revision, migration_context)
        return []

    try:
        if autogenerate:
            metadata = migrations.metadata
            with store.scratch() as connection:
                apply.run(connection, migrations, migrations.head(), f"a scratch {store.kind}", inline=True)
                environment = EnvironmentContext(
                    migrations.config, migrations.scripts, fn=compare, as_sql=False, template_args=context.template_args
                )
                with online.alembic_lock, environment:
                    environment.configure(
                        connection=connection,
                        target_metadata=metadata,
                        version_table=migrations.version_table,
                        compare_server_default=True,
                        # SQLite alters a table by making it anew, which only batch operations know how to do.
                        render_as_batch=store.dialect_name == "sqlite",
                    )
                    environment.run_migrations()
        scripts = [script for script in context.generate_scripts() if script is not None]
    except CommandError as error:
        raise RevisionsRejected(migrations.directory, f"{str(error).rstrip('.')}.") from error
    migrations.reload()
    return Path(scripts[0].path)
