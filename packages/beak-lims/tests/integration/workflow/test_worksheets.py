"""Worksheets take the most urgent results and their controls, and follow what is entered on them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import select

from beak_lims.errors import ChangeRefused, InputRejected, WrongState
from beak_lims.models import AnalysisResult, QCReference, Sample, Worksheet, WorksheetTemplate
from beak_lims.services.reports import publish_samples
from beak_lims.services.results import Entry, cancel_results, retest_result, submit_results, verify_results
from beak_lims.services.worksheets import assign_results, check_reserved, create_worksheet, place, unassign_results

from .conftest import Bench


@pytest.fixture(scope="module")
def template(bench: Bench) -> str:
    """Six positions, a control at the first and the last, for potassium."""
    with bench.at_work(None) as (session, _):
        made = WorksheetTemplate(
            name="Potassium",
            analysis_uid=bench.uids["pot"],
            sample_type_uid=bench.uids["blood"],
            rows=2,
            cols=3,
            reserved={"1": bench.uids["low"], "6": bench.uids["high"]},
        )
        session.add_all(
            [
                made,
                QCReference(
                    qc_level_uid=bench.uids["low"],
                    analysis_uid=bench.uids["pot"],
                    lot="L-7",
                    min=Decimal("1.8"),
                    max=Decimal("2.2"),
                ),
            ]
        )
        session.flush()
        return made.uid


@pytest.fixture
def sheet(bench: Bench, template: str) -> str:
    """A worksheet with its controls alone."""
    with bench.at_work() as (session, context):
        return create_worksheet(session, context, template, fill=False).uid


def on_sheet(bench: Bench, uid: str) -> dict[int, AnalysisResult]:
    with bench.at_work() as (session, _):
        found = session.scalars(select(AnalysisResult).where(AnalysisResult.worksheet_uid == uid)).all()
        session.expunge_all()
    return {one.worksheet_position: one for one in found if one.worksheet_position is not None}


def state_of(bench: Bench, uid: str) -> tuple[str, int]:
    with bench.at_work() as (session, _):
        one = session.scalars(select(Worksheet).where(Worksheet.uid == uid)).one()
        return one.state, one.assigned_count


def test_urgent_results_and_controls_fill_the_positions(bench: Bench, template: str) -> None:
    routine = [bench.register(("pot",)) for _ in range(4)]
    urgent = bench.register(("pot",), priority=2)
    bench.register(("glu",))
    with bench.at_work() as (session, context):
        made = create_worksheet(session, context, template)
        uid, number = made.uid, made.worksheet_id
        assert (made.state, made.assigned_count, made.analyst_uid) == ("pending", 6, bench.uids["ann"])
    assert number.startswith("WS")
    placed = on_sheet(bench, uid)
    assert placed[2].uid == urgent.results[0].uid
    assert [placed[at].uid for at in (3, 4, 5)] == [one.results[0].uid for one in routine[:3]]
    controls = [bench.sample(placed[at].sample_uid) for at in (1, 6)]
    assert [one.qc_level_uid for one in controls] == [bench.uids["low"], bench.uids["high"]]
    assert {one.analysis_request_uid for one in controls} == {None}
    with pytest.raises(ChangeRefused, match="0 free positions"), bench.at_work() as (session, context):
        assign_results(session, context, uid, [routine[3].results[0].uid])
    with bench.at_work() as (session, context):
        second = create_worksheet(session, context, template)
        assert second.assigned_count == 3  # no result stands on two worksheets
        second_uid = second.uid

    values = {1: "2.5", 2: "4", 3: "4", 4: "4", 5: "4", 6: "8"}
    with bench.at_work() as (session, context):
        submit_results(session, context, [Entry(placed[at].uid, values[at]) for at in (1, 2)])
    assert state_of(bench, uid)[0] == "submitting"
    with bench.at_work() as (session, context):
        submit_results(session, context, [Entry(placed[at].uid, values[at]) for at in (3, 4, 5, 6)])
    assert state_of(bench, uid)[0] == "awaiting"
    # The low control is out of its range, for the high one no lot is known.
    assert [on_sheet(bench, uid)[at].flag for at in (1, 6)] == ["high", None]
    with bench.at_work("bob") as (session, context):
        verify_results(session, context, [placed[2].uid])
    assert state_of(bench, uid)[0] == "approving"
    with bench.at_work("bob") as (session, context):
        verify_results(session, context, [placed[at].uid for at in (1, 3, 4, 5, 6)])
    assert state_of(bench, uid)[0] == "approved"
    assert [bench.sample(placed[at].sample_uid).status for at in (1, 2)] == ["published", "approved"]
    with pytest.raises((ChangeRefused, WrongState)), bench.at_work() as (session, context):
        publish_samples(session, context, [placed[1].sample_uid])
    with bench.at_work() as (session, context):
        left = [one.uid for at, one in on_sheet(bench, second_uid).items() if at not in (1, 6)]
        unassign_results(session, context, second_uid, left)


def test_results_come_off_until_entering_begins(bench: Bench, template: str, sheet: str) -> None:
    made = [bench.register(("pot",)).results[0].uid for _ in range(2)]
    with bench.at_work() as (session, context):
        assign_results(session, context, sheet, made)
    assert state_of(bench, sheet) == ("pending", 4)
    with pytest.raises(ChangeRefused, match="take it off first"), bench.at_work() as (session, context):
        cancel_results(session, context, made[:1])
    with bench.at_work() as (session, context):
        unassign_results(session, context, sheet, made[:1])
    assert state_of(bench, sheet) == ("pending", 3)
    placed = on_sheet(bench, sheet)
    with pytest.raises(ChangeRefused, match="controls stay"), bench.at_work() as (session, context):
        unassign_results(session, context, sheet, [placed[1].uid])
    with bench.at_work() as (session, context):
        submit_results(session, context, [Entry(made[1], "4")])
    with pytest.raises(WrongState, match="is submitting"), bench.at_work() as (session, context):
        assign_results(session, context, sheet, made[:1])


def test_what_does_not_belong_is_refused(bench: Bench, sheet: str) -> None:
    other, entered = bench.register(("glu",)), bench.register(("pot",))
    bench.submit(entered, pot="4")
    for uid, error in ((other.results[0].uid, ChangeRefused), (entered.results[0].uid, WrongState)):
        with pytest.raises(error), bench.at_work() as (session, context):
            assign_results(session, context, sheet, [uid])
    assert state_of(bench, sheet) == ("pending", 2)


def test_retest_leaves_the_worksheet_to_the_first_value(bench: Bench, sheet: str) -> None:
    made = bench.register(("pot",))
    with bench.at_work() as (session, context):
        assign_results(session, context, sheet, [made.results[0].uid])
    placed = on_sheet(bench, sheet)
    with bench.at_work() as (session, context):
        submit_results(session, context, [Entry(one.uid, "2") for one in placed.values()])
    with bench.at_work("bob") as (session, context):
        again = retest_result(session, context, made.results[0].uid, "Drift", keep=False)
        assert again.worksheet_uid is None
        verify_results(session, context, [placed[at].uid for at in (1, 6)])
    assert state_of(bench, sheet)[0] == "approved"
    with bench.at_work() as (session, _):
        status = session.scalars(select(Sample.status).where(Sample.uid == made.samples[0].uid)).one()
    assert status == "received"


def test_positions_count_along_rows_or_columns() -> None:
    assert [place(at, rows=2, cols=3, row_wise=True) for at in (1, 3, 4, 6)] == [(1, 1), (1, 3), (2, 1), (2, 3)]
    assert [place(at, rows=2, cols=3, row_wise=False) for at in (1, 2, 3, 6)] == [(1, 1), (2, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize("position", ["0", "7", "-1", "x", "", "1.5", "²"])
def test_reserved_position_lies_on_the_worksheet(position: str) -> None:
    assert check_reserved({"06": "level"}, 6) == {"6": "level"}
    with pytest.raises(InputRejected):
        check_reserved({position: "level"}, 6)
