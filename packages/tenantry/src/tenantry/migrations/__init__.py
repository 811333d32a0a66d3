"""Alembic scripts, compiled to plans, and one tenant brought to a revision by them.

Alembic stays the truth: revisions are ordinary scripts and every tenant has its own version table. Nothing here knows
of many tenants.
"""

from tenantry.migrations.directory import Migrations, RevisionInfo
from tenantry.migrations.plan import Kind, Plan, Step

__all__ = ["Kind", "Migrations", "Plan", "RevisionInfo", "Step"]
