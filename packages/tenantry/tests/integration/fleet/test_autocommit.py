"""Statements that may not run in a transaction, rolled out, interrupted, and rolled out again."""

from __future__ import annotations

import pytest

from tenantry.migrations.resuming import repeatable

CONCURRENTLY = """
with op.get_context().autocommit_block():
    op.create_index("uq_note_body", "note", ["body"], unique=True, postgresql_concurrently=True)
    op.create_index("ix_note_pinned", "note", ["pinned"], postgresql_concurrently=True)
"""
BACK = """
with op.get_context().autocommit_block():
    op.drop_index("ix_note_pinned", table_name="note", postgresql_concurrently=True)
    op.drop_index("uq_note_body", table_name="note", postgresql_concurrently=True)
"""


def test_interrupted_index_builds_are_finished_by_the_next_rollout(place, simple) -> None:
    if not place.on_postgres:
        pytest.skip("SQLite builds no index outside a transaction")
    tenancy = place.tenancy(simple)
    slugs = [f"t{number}" for number in range(4)]
    for slug in slugs:
        tenancy.provision(slug)
    simple.add("r4", CONCURRENTLY, BACK)
    # One whose build fails and leaves an invalid index, one that was killed after its first index stood.
    place.write("t1", "INSERT INTO note (id, body) VALUES (1, 'same'), (2, 'same')")
    place.write("t2", "CREATE UNIQUE INDEX uq_note_body ON note (body)")
    tenancy = place.tenancy(simple)
    report = tenancy.fleet.rollout(jobs=2)
    assert [(group.sqlstate, group.object, group.slugs) for group in report.failures] == [
        ("23505", "uq_note_body", ("t1",))
    ]
    assert any("INVALID" in text for text in place.shape("t1")["indexes"])
    assert {tenant.revision for tenant in tenancy.list() if tenant.slug != "t1"} == {"r4"}
    place.write("t1", "DELETE FROM note WHERE id = 2")
    assert tenancy.fleet.rollout(only_failed=True).complete
    assert len({repr(place.shape(slug)) for slug in slugs}) == 1
    assert not any("INVALID" in text for text in place.shape("t1")["indexes"])
    place.write("t3", "DROP INDEX ix_note_pinned")  # as a way back that was killed leaves it
    assert tenancy.fleet.rollout("r3").complete
    assert len({repr(place.shape(slug)) for slug in slugs}) == 1


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DROP INDEX CONCURRENTLY ix", "DROP INDEX CONCURRENTLY IF EXISTS ix"),
        ("DROP INDEX CONCURRENTLY IF EXISTS ix", "DROP INDEX CONCURRENTLY IF EXISTS ix"),
        ("ALTER TYPE mood ADD VALUE 'glad'", "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'glad'"),
        ("ALTER TYPE mood ADD VALUE IF NOT EXISTS 'glad'", "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'glad'"),
        ("VACUUM note", "VACUUM note"),
        ("DROP INDEX ix", "DROP INDEX ix"),
    ],
)
def test_statements_are_made_repeatable(statement, expected) -> None:
    assert repeatable(None, statement) == expected
