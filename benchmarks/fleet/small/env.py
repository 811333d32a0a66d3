"""What plain `alembic -x tenant=SLUG` runs; the tenantry commands do not."""

from tenantry.migrations.environment import run

run()
