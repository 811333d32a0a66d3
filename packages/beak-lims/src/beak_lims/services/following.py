"""Bring samples and worksheets to where their results put them, as the machines' tables say.

Called after every change of results, in the same transaction. When a sample is approved, its copies of set-up are
frozen, and those of its request with the first of its samples.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import ARRAY, String, any_, bindparam, select

from beak_lims.audit import act
from beak_lims.models import AnalysisRequest, AnalysisResult, Sample, Worksheet
from beak_lims.services.house_rules import now
from beak_lims.services.rows import rows
from beak_lims.workflow import samples as of_samples
from beak_lims.workflow import worksheets as of_worksheets
from beak_lims.workflow.results import ResultState
from beak_lims.workflow.samples import SAMPLES, SampleEvent, SampleState
from beak_lims.workflow.worksheets import WORKSHEETS, WorksheetState

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext


_RESULTS = select(AnalysisResult.sample_uid, AnalysisResult.status, AnalysisResult.worksheet_uid).where(
    AnalysisResult.sample_uid == any_(bindparam("uids", type_=ARRAY(String)))
)


def follow(session: Session, context: LabContext, samples: Iterable[Sample]) -> None:
    """Bring samples, which must be locked, and the worksheets of their results to where the results put them."""
    followed = {one.uid: one for one in samples}
    states: dict[str, list[ResultState]] = {uid: [] for uid in followed}
    sheets: set[str] = set()
    session.flush()
    for row in session.execute(_RESULTS, {"uids": list(followed)}):
        states[row.sample_uid].append(ResultState(row.status))
        if row.worksheet_uid is not None:
            sheets.add(row.worksheet_uid)
    due = {uid: list(of_samples.following(SampleState(one.status), states[uid])) for uid, one in followed.items()}
    while any(due.values()):
        together: dict[SampleEvent, list[Sample]] = {}
        for uid, events in due.items():
            if events:
                together.setdefault(events.pop(0), []).append(followed[uid])
        for event, moving in together.items():
            move(session, context, moving, event)
    # Nobody waits for the report of a control.
    controls = [one for one in followed.values() if one.qc_set_uid is not None and one.status == SampleState.APPROVED]
    move(session, context, controls, SampleEvent.PUBLISH)
    follow_worksheets(session, sheets)


def move(session: Session, context: LabContext, samples: Collection[Sample], event: SampleEvent) -> None:
    """Let an event happen to samples, which must be locked: their state, who and when.

    :raises WrongState: the event has no place in the state of one.
    """
    if not samples:
        return
    moment = now()
    with act(session, event.value):
        for sample in samples:
            _move(sample, event, context.user_uid, moment)
        if event is SampleEvent.APPROVE:
            _freeze_requests(session, samples, moment)


def _move(sample: Sample, event: SampleEvent, user_uid: str | None, moment: datetime) -> None:
    sample.status = SAMPLES.target(SampleState(sample.status), event, of=sample.sample_id)
    if event is SampleEvent.RECEIVE:
        sample.received_by_uid, sample.date_received = user_uid, moment
    elif event is SampleEvent.SUBMIT:
        sample.submitted_by_uid, sample.date_submitted = user_uid, moment
    elif event is SampleEvent.UNSUBMIT:
        sample.submitted_by_uid, sample.date_submitted = None, None
    elif event is SampleEvent.APPROVE:
        sample.verified_by_uid, sample.date_verified = user_uid, moment
        sample.frozen_at = moment
    elif event is SampleEvent.PUBLISH:
        sample.published_by_uid, sample.date_published = user_uid, moment
    elif event is SampleEvent.PRINT:
        sample.printed, sample.printed_by_uid, sample.date_printed = True, user_uid, moment
    elif event is SampleEvent.INVALIDATE:
        sample.invalidated_by_uid, sample.date_invalidated = user_uid, moment
    elif event is SampleEvent.CANCEL:
        sample.cancelled_by_uid, sample.date_cancelled = user_uid, moment
    elif event is SampleEvent.REINSTATE:
        sample.cancelled_by_uid, sample.date_cancelled = None, None
    elif event is SampleEvent.REJECT:
        sample.rejected_by_uid, sample.date_rejected = user_uid, moment
    elif event is SampleEvent.STORE:
        sample.stored_by_uid, sample.date_stored = user_uid, moment


def follow_worksheets(session: Session, uids: Iterable[str]) -> None:
    """Bring worksheets to where the results on them put them."""
    sheets = {one.uid: one for one in rows(session, Worksheet, sorted(set(uids)), lock=True)}
    if not sheets:
        return
    states: dict[str, list[ResultState]] = {uid: [] for uid in sheets}
    found = select(AnalysisResult.worksheet_uid, AnalysisResult.status)
    for row in session.execute(found.where(AnalysisResult.worksheet_uid.in_(sheets))):
        states[row.worksheet_uid].append(ResultState(row.status))
    for uid, sheet in sheets.items():
        for event in of_worksheets.following(WorksheetState(sheet.state), states[uid]):
            with act(session, event.value):
                sheet.state = WORKSHEETS.target(WorksheetState(sheet.state), event, of=sheet.worksheet_id)


def _freeze_requests(session: Session, samples: Collection[Sample], moment: datetime) -> None:
    uids = sorted({one.analysis_request_uid for one in samples if one.analysis_request_uid is not None})
    for request in rows(session, AnalysisRequest, uids, lock=True):
        if request.frozen_at is None:
            request.frozen_at = moment
