"""The revisions of the control plane's own tables, known without loading Alembic.

A test compares them with the scripts in ``migrations/versions``.
"""

from __future__ import annotations

VERSION_TABLE = "tenantry_version"  # beside an application's own alembic_version in the same schema or file
REGISTRY_REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")  # oldest first
REGISTRY_HEAD = REGISTRY_REVISIONS[-1]
