"""Tenants as benchmarks know them: 30 tables, 240 columns, 44 foreign keys and 63 further indexes in 12 revisions; and,
where there are to be very many, five small tables.
"""

from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations"
SMALL = Path(__file__).parent / "small"
TABLES, COLUMNS, FOREIGN_KEYS, INDEXES, REVISIONS = 30, 240, 44, 63, 12
