from tenantry.migrations.environment import run

run()
