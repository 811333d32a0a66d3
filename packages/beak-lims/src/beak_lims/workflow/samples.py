"""The states of a sample, from registration to its published report.

A sample follows its results: entering the last one submits it, approving the last one approves it, and a retest takes
it back. That is worked out by :func:`following`, never by hand.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from beak_lims.workflow.machine import Machine, row
from beak_lims.workflow.results import CLOSED, ENTERED, ResultState


class SampleState(StrEnum):
    """Where a sample stands."""

    SCHEDULED = "scheduled"  # to be collected at a planned time
    EXPECTED = "expected"  # registered, not in the laboratory yet
    RECEIVED = "received"  # in the laboratory, being worked on
    AWAITING = "awaiting"  # every result entered, not every one approved
    APPROVED = "approved"
    PUBLISHED = "published"
    INVALIDATED = "invalidated"  # its results must not be used; a corrected copy takes its place
    CANCELLED = "cancelled"
    REJECTED = "rejected"  # not fit for analysis
    STORED = "stored"
    REFERRED = "referred"  # with an outside laboratory; no event leads here yet
    PAIRED = "paired"  # waits for the sample it is compared with; no event leads here yet


class SampleEvent(StrEnum):
    """What may happen to a sample."""

    COLLECT = "collect"
    RECEIVE = "receive"
    SUBMIT = "submit"
    UNSUBMIT = "unsubmit"
    APPROVE = "approve"
    PUBLISH = "publish"
    AMEND = "amend"
    PRINT = "print"
    INVALIDATE = "invalidate"
    CANCEL = "cancel"
    REJECT = "reject"
    REINSTATE = "reinstate"
    STORE = "store"
    RECOVER = "recover"


_S, _E = SampleState, SampleEvent
_UNTOUCHED = "no result is on a worksheet, entered, approved or referred"

SAMPLES: Machine[SampleState, SampleEvent] = Machine(
    "Sample",
    (
        row(_S.SCHEDULED, _E.COLLECT, _S.EXPECTED),
        row(_S.EXPECTED, _E.RECEIVE, _S.RECEIVED),
        row(_S.RECEIVED, _E.SUBMIT, _S.AWAITING, "every result is entered, retracted or cancelled"),
        row(_S.AWAITING, _E.UNSUBMIT, _S.RECEIVED, "a result is pending again"),
        row((_S.AWAITING, _S.PAIRED), _E.APPROVE, _S.APPROVED, "every result is approved, retracted or cancelled"),
        row(_S.APPROVED, _E.PUBLISH, _S.PUBLISHED),
        row(_S.PUBLISHED, _E.AMEND, _S.PUBLISHED, "with a reason"),
        row(_S.PUBLISHED, _E.PRINT, _S.PUBLISHED),
        row((_S.APPROVED, _S.PUBLISHED), _E.INVALIDATE, _S.INVALIDATED, "with a reason"),
        row((_S.SCHEDULED, _S.EXPECTED, _S.RECEIVED), _E.CANCEL, _S.CANCELLED, _UNTOUCHED),
        row((_S.EXPECTED, _S.RECEIVED), _E.REJECT, _S.REJECTED, f"{_UNTOUCHED}; with rejection reasons"),
        row(_S.CANCELLED, _E.REINSTATE, _S.RECEIVED),
        row(_S.RECEIVED, _E.STORE, _S.STORED),
        row(_S.STORED, _E.RECOVER, _S.RECEIVED),
    ),
)

# Work on its results may be entered and taken back only in these.
IN_WORK = frozenset({_S.RECEIVED, _S.AWAITING, _S.PAIRED})
# Set-up corrections may still be taken in: nothing of it was approved.
OPEN = frozenset({_S.SCHEDULED, _S.EXPECTED, _S.RECEIVED, _S.STORED})


def following(state: SampleState, results: Collection[ResultState]) -> tuple[SampleEvent, ...]:
    """The events that bring a sample to where its results put it; none, if it stands there or does not follow them."""
    if state not in IN_WORK or not results:
        return ()
    if all(result is ResultState.CANCELLED for result in results):
        return (_E.CANCEL,) if state is _S.RECEIVED else ()
    if not ENTERED.issuperset(results):
        return (_E.UNSUBMIT,) if state is _S.AWAITING else ()
    submit = (_E.SUBMIT,) if state is _S.RECEIVED else ()
    return (*submit, _E.APPROVE) if CLOSED.issuperset(results) else submit


def is_untouched(results: Collection[tuple[ResultState, bool]]) -> bool:
    """Whether nothing was begun: of each result, its state and whether it is on a worksheet."""
    idle = {ResultState.PENDING, ResultState.CANCELLED}
    return all(state in idle and not assigned for state, assigned in results)
