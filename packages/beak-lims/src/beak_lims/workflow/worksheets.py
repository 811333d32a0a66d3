"""The states of a worksheet, which follow from the results on it."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from beak_lims.workflow.machine import Machine, row
from beak_lims.workflow.results import CLOSED, ENTERED, ResultState


class WorksheetState(StrEnum):
    """Where a worksheet stands."""

    EMPTY = "empty"
    PENDING = "pending"  # filled, no result entered
    SUBMITTING = "submitting"  # some results entered
    AWAITING = "awaiting"  # every result entered, none closed
    APPROVING = "approving"  # some results closed
    APPROVED = "approved"


class WorksheetEvent(StrEnum):
    """What may happen to a worksheet."""

    ASSIGN = "assign"
    UNASSIGN = "unassign"
    CLEAR = "clear"
    ENTER = "enter"
    SUBMIT = "submit"
    REOPEN = "reopen"
    VERIFY = "verify"
    APPROVE = "approve"


_S, _E = WorksheetState, WorksheetEvent

WORKSHEETS: Machine[WorksheetState, WorksheetEvent] = Machine(
    "Worksheet",
    (
        row((_S.EMPTY, _S.PENDING), _E.ASSIGN, _S.PENDING, "a position is free"),
        row(_S.PENDING, _E.UNASSIGN, _S.PENDING, "another result stays on it"),
        row(_S.PENDING, _E.CLEAR, _S.EMPTY, "no result stays on it"),
        row((_S.PENDING, _S.SUBMITTING), _E.ENTER, _S.SUBMITTING, "a result is still pending"),
        row((_S.PENDING, _S.SUBMITTING), _E.SUBMIT, _S.AWAITING, "no result is pending"),
        row((_S.AWAITING, _S.APPROVING), _E.REOPEN, _S.SUBMITTING, "a result is pending again"),
        row((_S.AWAITING, _S.APPROVING), _E.VERIFY, _S.APPROVING, "a result is not closed"),
        row((_S.AWAITING, _S.APPROVING), _E.APPROVE, _S.APPROVED, "every result is closed"),
    ),
)


def following(state: WorksheetState, results: Collection[ResultState]) -> tuple[WorksheetEvent, ...]:
    """The events that bring a worksheet to where the results on it put it; none, if it stands there."""
    if state in (_S.EMPTY, _S.APPROVED) or not results:
        return ()
    entered = [result for result in results if result in ENTERED and result is not ResultState.CANCELLED]
    if not ENTERED.issuperset(results):
        if state in (_S.AWAITING, _S.APPROVING):
            return (_E.REOPEN,)
        return (_E.ENTER,) if entered and state is _S.PENDING else ()
    submit = () if state in (_S.AWAITING, _S.APPROVING) else (_E.SUBMIT,)
    closed = [result for result in results if result in CLOSED]
    if len(closed) == len(results):
        return (*submit, _E.APPROVE)
    started = bool(closed) and state is not _S.APPROVING
    return (*submit, _E.VERIFY) if started else submit
