"""Alembic's environment for the control plane's own tables, for those who write its revisions with plain Alembic.

Runs on the connection handed over in ``config.attributes["connection"]``, inside its transaction, and makes none of its
own: which schema or file the unqualified names mean, the lock and the commit are the caller's. The engine itself runs
the revisions without it (``tenantry.registry.bootstrap``).
"""

from __future__ import annotations

from alembic import context

from tenantry.registry.revisions import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,  # Alembic's default on SQLite would commit a revision that fails half-way
)
with context.begin_transaction():
    context.run_migrations()
