"""The Alembic directories: ``tenant`` for every organisation's schema, ``platform`` for the platform's own tables."""
