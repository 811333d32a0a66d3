"""A tenant as benchmarks know it: 30 tables, 240 columns, 44 foreign keys and 63 further indexes in 12 revisions."""

from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations"
TABLES, COLUMNS, FOREIGN_KEYS, INDEXES, REVISIONS = 30, 240, 44, 63, 12
