from docex.models.schema import compared
from tenantry.migrations.environment import run

run(include_name=compared)
