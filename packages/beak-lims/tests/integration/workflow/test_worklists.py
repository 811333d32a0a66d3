"""Worklists are read along their index, in the order in which the work is urgent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from beak_lims.context import LabContext
from beak_lims.errors import ChangeRefused
from beak_lims.models import AnalysisResult
from beak_lims.services.worklists import Place, result_worklist, sample_worklist
from beak_lims.workflow.results import ResultState
from beak_lims.workflow.samples import SampleState

from .conftest import Bench

FEW = 5_000  # results; enough for the planner to prefer an index
MANY = 1_000_000

FILL = """
    WITH made AS (
        INSERT INTO sample (uid, sample_id, analysis_request_uid, sample_type_uid, priority, status, due_date,
                            snapshot_hash, laboratory_uid)
        SELECT md5('s' || :samples || '.' || n), 'B' || :samples || '.' || n,
               p.analysis_request_uid, p.sample_type_uid, n % 3, 'received',
               now() + n % 1000 * interval '1 minute', p.snapshot_hash, p.laboratory_uid
        FROM generate_series(1, :samples) n, (SELECT * FROM sample WHERE uid = :pattern) p
        RETURNING uid, priority, due_date, laboratory_uid
    )
    INSERT INTO analysis_result (uid, sample_uid, analysis_uid, status, priority, due_date, snapshot_hash,
                                 laboratory_uid)
    SELECT md5('r' || m.uid || k), m.uid, p.analysis_uid, 'pending', m.priority, m.due_date, p.snapshot_hash,
           m.laboratory_uid
    FROM made m, generate_series(1, 4) k, (SELECT * FROM analysis_result WHERE sample_uid = :pattern) p
"""


def fill(bench: Bench, results: int) -> None:
    """Add pending results, as many as that."""
    pattern = bench.register(("glu",)).samples[0].uid
    with bench.installation.tenancy.session(bench.tenant) as session:
        session.execute(sa.text(FILL), {"samples": results // 4, "pattern": pattern})
    with bench.installation.tenancy.session(bench.tenant) as session:
        session.execute(sa.text("ANALYZE sample"))
        session.execute(sa.text("ANALYZE analysis_result"))


def plan_of(bench: Bench, read: Callable[[Session, LabContext], Any]) -> str:
    """How the database carries out what is read."""
    plans: list[str] = []

    def explain(connection: Any, _: Any, statement: str, parameters: Any, *more: Any) -> None:
        if statement.startswith("SELECT") and "ORDER BY" in statement:
            with connection.connection.cursor() as cursor:
                cursor.execute("EXPLAIN " + statement, parameters)
                plans.append("\n".join(row[0] for row in cursor.fetchall()))

    with bench.at_work() as (session, context):
        engine = session.connection().engine
        sa.event.listen(engine, "before_cursor_execute", explain)
        try:
            read(session, context)
        finally:
            sa.event.remove(engine, "before_cursor_execute", explain)
    [plan] = plans
    return plan


def test_worklists_are_read_along_their_indexes_and_sort_nothing(bench: Bench) -> None:
    fill(bench, FEW)
    with bench.at_work() as (session, context):
        last = result_worklist(session, context, limit=1000)[-1]
        later = Place(last.priority, last.due_date, last.uid)
    analysis = bench.uids["glu"]
    for index, read in (
        ("ix_analysis_result_worklist", lambda s, c: result_worklist(s, c)),
        ("ix_analysis_result_worklist", lambda s, c: result_worklist(s, c, after=later)),
        ("ix_analysis_result_", lambda s, c: result_worklist(s, c, analysis_uid=analysis)),
        ("ix_sample_worklist", lambda s, c: sample_worklist(s, c, status=SampleState.RECEIVED)),
    ):
        plan = plan_of(bench, read)
        assert index in plan, plan
        assert "Sort" not in plan, plan
        assert "Seq Scan on analysis_result" not in plan, plan


def test_pages_hold_every_result_once_in_order(bench: Bench) -> None:
    with bench.at_work() as (session, context):
        places, after = [], None
        while found := result_worklist(session, context, after=after, limit=400):
            places += [(-row.priority, row.due_date, row.uid) for row in found]
            after = Place(found[-1].priority, found[-1].due_date, found[-1].uid)
            session.expunge_all()
        expected = session.scalar(
            sa.select(sa.func.count()).select_from(AnalysisResult).where(AnalysisResult.status == ResultState.PENDING)
        )
    assert places == sorted(set(places))
    assert len(places) == expected


@pytest.mark.parametrize("text", ["", "x", "1/2", "1/never/0", "1/2026-01-01/0/0"])
def test_damaged_place_is_refused(text: str) -> None:
    with pytest.raises(ChangeRefused, match="first page"):
        Place.parse(text)


@pytest.mark.slow
def test_fifty_of_a_million_take_less_than_twenty_milliseconds(bench: Bench) -> None:
    fill(bench, MANY)
    with bench.at_work() as (session, context):
        result_worklist(session, context)
        seconds, after = [], None
        for _ in range(50):
            session.expunge_all()
            start = time.perf_counter()
            found = result_worklist(session, context, after=after)
            seconds.append(time.perf_counter() - start)
            assert len(found) == 50
            after = Place(found[-1].priority, found[-1].due_date, found[-1].uid)
    assert sorted(seconds)[len(seconds) // 2] < 0.020
