"""The states of a result, from pending to approved, and when one may be verified.

An approved result never changes again: a doubt about it makes a retest or invalidates its sample.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from beak_lims.workflow.machine import Machine, row


class ResultState(StrEnum):
    """Where a result stands."""

    PENDING = "pending"  # asked for, no value yet
    RESULTED = "resulted"  # has a value, waits for its verifiers
    APPROVED = "approved"  # verified by as many people as the analysis asks for
    RETRACTED = "retracted"  # withdrawn for a retest
    CANCELLED = "cancelled"  # not to be done
    REFERRED = "referred"  # with an outside laboratory; no event leads here yet


class ResultEvent(StrEnum):
    """What may happen to a result."""

    ASSIGN = "assign"
    UNASSIGN = "unassign"
    SUBMIT = "submit"
    VERIFY = "verify"
    APPROVE = "approve"
    RETRACT = "retract"
    CANCEL = "cancel"
    REINSTATE = "reinstate"


_P, _R = ResultState.PENDING, ResultState.RESULTED

RESULTS: Machine[ResultState, ResultEvent] = Machine(
    "Result",
    (
        row(_P, ResultEvent.ASSIGN, _P, "on no worksheet"),
        row(_P, ResultEvent.UNASSIGN, _P, "on a worksheet"),
        row(_P, ResultEvent.SUBMIT, _R, "its sample is received"),
        row(_R, ResultEvent.VERIFY, _R, "verifiers are still missing afterwards"),
        row(_R, ResultEvent.APPROVE, ResultState.APPROVED, "no verifier is missing afterwards"),
        row(_R, ResultEvent.RETRACT, ResultState.RETRACTED, "a retest takes its place"),
        row(_P, ResultEvent.CANCEL, ResultState.CANCELLED, "on no worksheet"),
        row(ResultState.CANCELLED, ResultEvent.REINSTATE, _P, "its sample is received"),
    ),
)

# Nothing more is to be entered for these.
ENTERED = frozenset({_R, ResultState.RETRACTED, ResultState.APPROVED, ResultState.CANCELLED})
# Nothing more is to be done for these.
CLOSED = frozenset({ResultState.RETRACTED, ResultState.APPROVED, ResultState.CANCELLED})


def refusal_to_verify(
    verifier: str, *, submitted_by: str | None, verified_by: Collection[str], self_verification: bool
) -> str | None:
    """Why this person may not verify, or None if they may.

    ``self_verification``: whether the laboratory or the analysis lets those who entered a result verify it. Nobody
    verifies twice, whatever the setting.
    """
    if verifier in verified_by:
        return "you verified it already; another person has to."
    if verifier == submitted_by and not self_verification:
        return "you entered it; another person has to verify it."
    return None
