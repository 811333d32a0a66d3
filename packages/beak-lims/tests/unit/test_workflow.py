"""Every pair of a state and an event leads where the tables below say, and everywhere else it is refused."""

from __future__ import annotations

from enum import StrEnum
from itertools import combinations_with_replacement, product

import pytest
from sqlalchemy import CheckConstraint

from beak_lims.errors import WrongState
from beak_lims.models import metadata
from beak_lims.workflow import samples, worksheets
from beak_lims.workflow.machine import Machine, row
from beak_lims.workflow.results import RESULTS, ResultEvent, ResultState, refusal_to_verify
from beak_lims.workflow.samples import SAMPLES, SampleEvent, SampleState, is_untouched
from beak_lims.workflow.worksheets import WORKSHEETS, WorksheetEvent, WorksheetState

# Written out by hand, and not derived from the machines: state, event, state that follows.
SAMPLE_TABLE = """
scheduled collect expected
expected receive received
received submit awaiting
awaiting unsubmit received
awaiting approve approved
paired approve approved
approved publish published
published amend published
published print published
approved invalidate invalidated
published invalidate invalidated
scheduled cancel cancelled
expected cancel cancelled
received cancel cancelled
expected reject rejected
received reject rejected
cancelled reinstate received
received store stored
stored recover received
"""
RESULT_TABLE = """
pending assign pending
pending unassign pending
pending submit resulted
resulted verify resulted
resulted approve approved
resulted retract retracted
pending cancel cancelled
cancelled reinstate pending
"""
WORKSHEET_TABLE = """
empty assign pending
pending assign pending
pending unassign pending
pending clear empty
pending enter submitting
submitting enter submitting
pending submit awaiting
submitting submit awaiting
awaiting reopen submitting
approving reopen submitting
awaiting verify approving
approving verify approving
awaiting approve approved
approving approve approved
"""


@pytest.mark.parametrize(
    ("machine", "states", "events", "table"),
    [
        (SAMPLES, SampleState, SampleEvent, SAMPLE_TABLE),
        (RESULTS, ResultState, ResultEvent, RESULT_TABLE),
        (WORKSHEETS, WorksheetState, WorksheetEvent, WORKSHEET_TABLE),
    ],
)
def test_every_state_and_event(
    machine: Machine[StrEnum, StrEnum], states: type[StrEnum], events: type[StrEnum], table: str
) -> None:
    expected = {tuple(line.split()[:2]): line.split()[2] for line in table.split("\n") if line}
    for state, event in product(states, events):
        target = expected.get((state.value, event.value))
        assert machine.allows(state, event) is (target is not None)
        if target is None:
            with pytest.raises(WrongState) as refused:
                machine.target(state, event, of="S26AA-00001")
            message = str(refused.value)
            assert f"S26AA-00001 is {state}" in message
            assert event in message
            assert all(source in message for source in machine.sources(event))
        else:
            assert machine.target(state, event, of="S26AA-00001") == target


def test_a_table_that_says_two_things_is_no_machine() -> None:
    with pytest.raises(ValueError, match="stands twice"):
        Machine(
            "Result",
            (
                row(ResultState.PENDING, ResultEvent.SUBMIT, ResultState.RESULTED),
                row(ResultState.PENDING, ResultEvent.SUBMIT, ResultState.APPROVED),
            ),
        )


@pytest.mark.parametrize(
    ("table", "column", "states"),
    [
        ("sample", "status", SampleState),
        ("analysis_result", "status", ResultState),
        ("worksheet", "state", WorksheetState),
    ],
)
def test_database_knows_the_same_states(table: str, column: str, states: type[StrEnum]) -> None:
    [check] = [
        one
        for one in metadata.tables[table].constraints
        if isinstance(one, CheckConstraint) and str(one.name) == f"ck_{table}_{column}"
    ]
    listed = str(check.sqltext).partition("(")[2].rstrip(")")
    assert {value.strip().strip("'") for value in listed.split(",")} == {state.value for state in states}


def test_sample_follows_every_mixture_of_three_results() -> None:
    for state in SampleState:
        for results in combinations_with_replacement(ResultState, 3):
            at = state
            for event in samples.following(state, results):
                at = SAMPLES.target(at, event, of="a sample")
            # It stands there: asking again changes nothing.
            assert samples.following(at, results) == ()
            if state not in samples.IN_WORK:
                assert at is state
                continue
            if set(results) == {ResultState.CANCELLED}:
                assert at is (SampleState.CANCELLED if state is SampleState.RECEIVED else state)
            elif {ResultState.PENDING, ResultState.REFERRED} & set(results):
                assert at is (SampleState.PAIRED if state is SampleState.PAIRED else SampleState.RECEIVED)
            elif ResultState.RESULTED in results:
                assert at is (SampleState.PAIRED if state is SampleState.PAIRED else SampleState.AWAITING)
            else:
                assert at is SampleState.APPROVED


def test_sample_without_results_stays_where_it_is() -> None:
    assert all(samples.following(state, []) == () for state in SampleState)


def test_worksheet_follows_every_mixture_of_three_results() -> None:
    for state in WorksheetState:
        for results in combinations_with_replacement(ResultState, 3):
            at = state
            for event in worksheets.following(state, results):
                at = WORKSHEETS.target(at, event, of="a worksheet")
            assert worksheets.following(at, results) == ()
            closed = {ResultState.APPROVED, ResultState.RETRACTED, ResultState.CANCELLED}
            if state in (WorksheetState.EMPTY, WorksheetState.APPROVED):
                assert at is state
            elif set(results) <= closed:
                assert at is WorksheetState.APPROVED
            elif {ResultState.PENDING, ResultState.REFERRED} & set(results):
                assert at in (WorksheetState.PENDING, WorksheetState.SUBMITTING)
            else:
                assert at in (WorksheetState.AWAITING, WorksheetState.APPROVING)


@pytest.mark.parametrize(
    ("verifier", "submitted_by", "verified_by", "self_verification", "refused"),
    [
        ("bob", "ann", [], False, False),
        ("ann", "ann", [], False, True),
        ("ann", "ann", [], True, False),
        ("bob", "ann", ["bob"], False, True),
        ("bob", "ann", ["bob"], True, True),  # nobody verifies twice, whatever the setting
        ("cat", "ann", ["bob"], False, False),
        ("ann", None, [], False, False),
    ],
)
def test_rule_of_two(
    verifier: str, submitted_by: str | None, verified_by: list[str], self_verification: bool, refused: bool
) -> None:
    reason = refusal_to_verify(
        verifier, submitted_by=submitted_by, verified_by=verified_by, self_verification=self_verification
    )
    assert (reason is not None) is refused


def test_untouched_means_neither_entered_nor_on_a_worksheet() -> None:
    for state, assigned in product(ResultState, (True, False)):
        idle = state in (ResultState.PENDING, ResultState.CANCELLED) and not assigned
        assert is_untouched([(ResultState.PENDING, False), (state, assigned)]) is idle
