"""The audit trail's chain: tampering of every kind is found, writers at once keep it whole, it leaves as a stream."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from tenantry.registry import bootstrap
from tenantry.registry.audit import GENESIS, AuditHead, digest

ROWS = 10


@pytest.fixture
def trail(plane):
    """A plane with ten lines in its audit trail."""
    for number in range(ROWS):
        plane.registry.audit("counted", f"t{number}", details={"n": number}, actor="ann", origin="10.0.0.7")
    return plane


def tamper(plane, *statements) -> None:
    with plane.store.control_engine().begin() as connection:
        for statement in statements:
            connection.execute(statement)


def kinds(plane) -> list[tuple[int, str]]:
    return [(fault.sequence, fault.kind) for fault in plane.registry.verify_audit()]


def rehashed(row, **change):
    """The row with other content and a hash that fits it, as somebody who knows the rule would write it."""
    fields = {**row, **change}
    content = {name: value for name, value in fields.items() if name not in ("hash", "details")}
    return {**fields, "hash": digest(**content, details=json.dumps(fields["details"]))}


def test_trail_as_written_is_whole(trail) -> None:
    assert trail.registry.verify_audit() == []
    report = trail.registry.check_audit()
    rows = trail.rows("audit")
    assert (report.rows, report.head) == (ROWS, AuditHead(ROWS, rows[-1]["hash"]))
    assert rows[0]["previous"] == GENESIS
    assert [row["previous"] for row in rows[1:]] == [row["hash"] for row in rows[:-1]]
    assert [row["sequence"] for row in rows] == list(range(1, ROWS + 1))


def test_empty_trail_is_whole(plane) -> None:
    assert plane.registry.verify_audit() == []
    assert plane.registry.check_audit().head == AuditHead(0, GENESIS)
    assert list(plane.registry.export_audit()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"actor": "bob"},
        {"origin": "10.0.0.8"},
        {"action": "other"},
        {"slug": "t99"},
        {"slug": None},
        {"outcome": "failed"},
        {"details": {"n": 99}},
        {"details": {}},
        {"at": datetime(2020, 1, 1, tzinfo=UTC)},
        {"hash": "f" * 64},
        {"previous": "f" * 64},
    ],
    ids=lambda change: f"{next(iter(change))}={next(iter(change.values()))}"[:20],
)
@pytest.mark.parametrize("number", [1, 5, ROWS])
def test_changed_row_is_found(trail, change, number) -> None:
    audit = trail.tables.audit
    tamper(trail, sa.update(audit).where(audit.c.sequence == number).values(**change))
    assert (number, "changed") in kinds(trail)


def test_details_that_mean_the_same_but_are_written_otherwise_are_found(trail) -> None:
    audit = trail.tables.audit
    text = sa.type_coerce(sa.cast(sa.literal('{"n":4}'), sa.JSON if trail.store.control_schema else sa.Text), sa.JSON)
    tamper(trail, sa.update(audit).where(audit.c.sequence == 5).values(details=text))
    assert trail.rows("audit")[4]["details"] == {"n": 4}
    assert kinds(trail) == [(5, "changed")]


@pytest.mark.parametrize("number", [1, 5, ROWS])
def test_missing_row_is_found(trail, number) -> None:
    audit = trail.tables.audit
    tamper(trail, sa.delete(audit).where(audit.c.sequence == number))
    assert kinds(trail) == [(number, "missing")]


def test_missing_rows_at_the_end_and_all_of_them_are_found(trail) -> None:
    audit = trail.tables.audit
    tamper(trail, sa.delete(audit).where(audit.c.sequence > 7))
    (fault,) = trail.registry.verify_audit()
    assert (fault.sequence, fault.message) == (8, "Rows 8 to 10 are missing.")
    tamper(trail, sa.delete(audit))
    (fault,) = trail.registry.verify_audit()
    assert fault.message == "Rows 1 to 10 are missing."


def test_row_taken_out_with_the_others_moved_up_is_found(trail) -> None:
    audit = trail.tables.audit
    tamper(
        trail,
        sa.delete(audit).where(audit.c.sequence == 5),
        *(sa.update(audit).where(audit.c.sequence == n).values(sequence=n - 1) for n in range(6, ROWS + 1)),
    )
    assert {(5, "changed"), (ROWS, "missing")} <= set(kinds(trail))


def test_swapped_rows_are_found(trail) -> None:
    audit = trail.tables.audit
    tamper(
        trail,
        sa.update(audit).where(audit.c.sequence == 3).values(sequence=0),
        sa.update(audit).where(audit.c.sequence == 7).values(sequence=3),
        sa.update(audit).where(audit.c.sequence == 0).values(sequence=7),
    )
    assert {(3, "changed"), (7, "changed")} <= set(kinds(trail))


def test_row_replaced_with_one_whose_hash_fits_is_found_by_the_next(trail) -> None:
    audit, row = trail.tables.audit, trail.rows("audit")[4]
    tamper(trail, sa.update(audit).where(audit.c.sequence == 5).values(rehashed(row, actor="bob")))
    assert kinds(trail) == [(6, "unlinked")]


def test_last_row_replaced_with_one_whose_hash_fits_is_found_by_the_head(trail) -> None:
    audit, row = trail.tables.audit, trail.rows("audit")[-1]
    tamper(trail, sa.update(audit).where(audit.c.sequence == ROWS).values(rehashed(row, actor="bob")))
    assert kinds(trail) == [(ROWS, "changed")]


def test_row_added_behind_the_registrys_back_is_found(trail) -> None:
    audit, row = trail.tables.audit, trail.rows("audit")[-1]
    tamper(trail, sa.insert(audit).values(rehashed(row, sequence=ROWS + 1, previous=row["hash"])))
    assert kinds(trail) == [(ROWS + 1, "added")]


def test_missing_head_is_found_and_the_trail_goes_on(trail) -> None:
    tamper(trail, sa.delete(trail.tables.audit_head))
    assert kinds(trail) == [(ROWS, "missing")]
    trail.registry.audit("further")
    assert trail.registry.verify_audit() == []
    assert trail.rows("audit")[-1]["sequence"] == ROWS + 1


def test_trail_written_anew_as_a_whole_is_found_by_a_head_noted_before(trail) -> None:
    noted = trail.registry.check_audit().head
    audit, head, previous = trail.tables.audit, trail.tables.audit_head, GENESIS
    for row in trail.rows("audit"):
        row = rehashed(row, actor="bob", previous=previous)
        previous = row["hash"]
        tamper(trail, sa.update(audit).where(audit.c.sequence == row["sequence"]).values(row))
    tamper(trail, sa.update(head).values(hash=previous))
    assert trail.registry.verify_audit() == []
    (fault,) = trail.registry.check_audit(anchor=noted).faults
    assert fault.message.endswith("the trail was written anew.")


def test_head_noted_before_holds_while_the_trail_grows(trail) -> None:
    noted = trail.registry.check_audit().head
    for _ in range(5):
        trail.registry.audit("further")
    assert list(trail.registry.check_audit(anchor=noted).faults) == []
    assert list(trail.registry.check_audit(anchor=AuditHead(0, GENESIS)).faults) == []
    assert trail.registry.check_audit(anchor=AuditHead(99, noted.hash)).faults


def test_faults_are_told_up_to_a_hundred(plane) -> None:
    for _ in range(150):
        plane.registry.audit("counted")
    tamper(plane, sa.update(plane.tables.audit).values(actor="bob"))
    assert len(plane.registry.verify_audit()) == 100


def test_verification_and_export_change_nothing(trail) -> None:
    before = trail.rows("audit"), trail.rows("audit_head")
    trail.registry.verify_audit()
    list(trail.registry.export_audit())
    assert (trail.rows("audit"), trail.rows("audit_head")) == before


def test_twenty_processes_that_append_at_once_keep_the_chain_whole(plane, race) -> None:
    body = """
def work(registry, store, number):
    for turn in range(10):
        registry.audit("counted", f"t{number}", details={"turn": turn})
    return "done"
"""
    assert race(body) == ["done"] * 20
    assert [row["sequence"] for row in plane.rows("audit")] == list(range(1, 201))
    assert plane.registry.verify_audit() == []


def test_line_of_a_transaction_that_is_undone_leaves_no_gap(plane) -> None:
    plane.registry.audit("one")
    with plane.store.control_engine().connect() as connection:
        plane.registry.audit("two", connection=connection)
        connection.rollback()
    plane.registry.audit("three")
    assert [(row["sequence"], row["action"]) for row in plane.rows("audit")] == [(1, "one"), (2, "three")]
    assert plane.registry.verify_audit() == []


def test_several_lines_of_one_transaction_are_chained(plane) -> None:
    with plane.store.control_engine().begin() as connection:
        for number in range(5):
            plane.registry.audit("counted", details={"n": number}, connection=connection)
    assert plane.registry.verify_audit() == []


@pytest.mark.parametrize(
    "details",
    [{"ü": "ß😀"}, {"f": [0.1, 1e300, -0.0, 1.0]}, {"z": 1, "a": {"b": [None, True]}}, {"quote": "\"'\\\n\t"}, {}],
    ids=["unicode", "floats", "nested", "escapes", "empty"],
)
def test_details_of_every_kind_are_hashed_as_they_are_stored(plane, details) -> None:
    plane.registry.audit("kept", details=details, actor="ann ü", origin="")
    assert plane.registry.verify_audit() == []
    (line,) = plane.registry.export_audit()
    assert json.loads(line)["details"] == details


def test_export_is_json_lines_whose_hashes_anyone_can_compute(trail) -> None:
    lines = list(trail.registry.export_audit())
    assert all(line.endswith("}\n") and line.count("\n") == 1 for line in lines)
    previous = GENESIS
    for line in lines:
        row = json.loads(line)
        assert list(row) == [
            "sequence",
            "at",
            "actor",
            "origin",
            "action",
            "slug",
            "outcome",
            "details",
            "previous",
            "hash",
        ]
        fields = [row[name] for name in ("sequence", "at", "actor", "origin", "action", "slug", "outcome")]
        fields += [json.dumps(row["details"]), previous]
        assert hashlib.sha256(json.dumps(fields, separators=(",", ":")).encode()).hexdigest() == row["hash"]
        previous = row["hash"]


def test_export_can_be_narrowed_and_goes_on_after_a_row(trail) -> None:
    trail.registry.audit("other", "t1")
    numbers = [json.loads(line)["sequence"] for line in trail.registry.export_audit("t1")]
    assert numbers == [2, 11]
    assert [json.loads(line)["sequence"] for line in trail.registry.export_audit(after=9)] == [10, 11]
    assert [json.loads(line)["slug"] for line in trail.registry.export_audit(action="other")] == ["t1"]


EXPORT = """
import json, resource, sys, tracemalloc
from tenantry.registry.registry import Registry
from tenantry.stores.postgres import PostgresSchemas
from tenantry.stores.sqlite import SqliteFiles

kind, where = json.loads(sys.argv[1])
store = SqliteFiles(where, "{slug}.db") if kind == "file" else PostgresSchemas(where, "org_{slug}")
registry = Registry(store.control_engine, store.control_schema, store.describe())
lines, held = registry.export_audit(), []
for number, line in enumerate(lines, start=1):
    if number == 5_000:
        held.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
held.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
report = registry.check_audit()
held.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(json.dumps([number, len(report.faults), report.rows, held]))
"""


def test_thirty_thousand_rows_are_exported_and_verified_in_flat_memory(plane) -> None:
    audit, previous, rows = plane.tables.audit, GENESIS, []
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(1, 30_001):
        fields = {
            "sequence": number,
            "at": at,
            "actor": "ann",
            "origin": "10.0.0.7",
            "action": "counted",
            "slug": None,
            "outcome": "done",
            "previous": previous,
        }
        previous = digest(**fields, details='{"padding": "' + "x" * 200 + '"}')
        rows.append({**fields, "details": {"padding": "x" * 200}, "hash": previous})
    with plane.store.control_engine().begin() as connection:
        for start in range(0, len(rows), 10_000):
            connection.execute(sa.insert(audit), rows[start : start + 10_000])
        connection.execute(sa.update(plane.tables.audit_head).values(sequence=30_000, hash=previous))
    given = json.dumps([plane.store.kind, plane.where])
    done = subprocess.run([sys.executable, "-c", EXPORT, given], capture_output=True, text=True, check=True)
    lines, faults, seen, held = json.loads(done.stdout)
    assert (lines, faults, seen) == (30_000, 0, 30_000)
    assert max(held) - held[0] < 8 * 1024, held  # KiB; the rows themselves are some 18 MB


def test_rows_from_before_the_chain_are_chained_by_the_upgrade(bare) -> None:
    from tenantry.migrations import online

    with bare.store.control() as connection:
        online.run(connection, bootstrap.CHAIN, "0002")
        names = ("at", "actor", "origin", "action", "outcome")
        audit = sa.table("audit", *(sa.column(name) for name in names), sa.column("details", sa.JSON))
        for number in range(3):
            at = sa.literal(datetime(2026, 1, 1, 12, number, 5, 123456, tzinfo=UTC), bare.tables.audit.c.at.type)
            row = {"actor": "ann", "origin": "x", "action": f"a{number}", "outcome": "done", "details": {"n": 1.0}}
            connection.execute(sa.insert(audit).values(at=at, **row))
        connection.execute(sa.delete(audit).where(audit.c.action == "a1"))  # numbers had gaps then
    assert bare.registry.upgrade() is True
    bare.registry.audit("new")
    assert [(row["sequence"], row["action"]) for row in bare.rows("audit")] == [(1, "a0"), (2, "a2"), (3, "new")]
    assert bare.registry.verify_audit() == []
