"""What plain `alembic -x tenant=SLUG` runs; the tenantry commands do not."""

from notes import tenancy

from tenantry.migrations.environment import run

run(tenancy)
