"""Runs under plain `alembic` and under the engine; which database and which schema is the engine's to say."""

from tenantry.migrations.environment import run

run()
