"""What happens to whole samples: collected, received, rejected, cancelled, stored, invalidated - and back.

Entering and approving results moves samples too: see :mod:`beak_lims.services.following`. Each function takes its
samples whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from beak_lims.audit import act
from beak_lims.errors import ChangeRefused, InputRejected
from beak_lims.inputs import parse_name
from beak_lims.models import (
    AnalysisResult,
    Occasion,
    OrganismResult,
    RejectionReason,
    Relationship,
    ReportImpress,
    ReportState,
    Sample,
    Subject,
    sample_analysis,
    sample_profile,
    sample_rejection_reason,
)
from beak_lims.seeds.setup import AST_ANTIBIOTIC, AST_ORGANISM
from beak_lims.services.following import follow, move
from beak_lims.services.house_rules import house_rules, now
from beak_lims.services.requests import LATE_CLOCK, pending_results
from beak_lims.services.rows import referred, results_of, rows
from beak_lims.services.susceptibility import carry_isolates
from beak_lims.snapshots.taking import AnalysisWanted, Version, copy_analyses, copy_samples, note_versions
from beak_lims.workflow.results import RESULTS, ResultEvent, ResultState
from beak_lims.workflow.samples import SampleEvent, SampleState, is_untouched
from tenantry.registry.uids import new_uid

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext

COPY = re.compile(r"(?P<of>.+?)(?:_R(?P<number>\d{2,}))?")  # the number of a corrected copy: S26AA-00001_R01


def collect_samples(
    session: Session, context: LabContext, uids: Sequence[str], at: datetime | None = None
) -> list[Sample]:
    """Say that scheduled samples were collected, now unless another time is given.

    :raises WrongState: a sample is not scheduled.
    :raises InputRejected: the time is still to come, or has no time zone.
    """
    collected = at or now()
    if collected.tzinfo is None:
        raise InputRejected("date_collected", collected.isoformat(), "tell its time zone, such as +02:00 or Z.")
    if collected > now() + LATE_CLOCK:
        raise InputRejected("date_collected", collected.isoformat(), "it is still to come.")
    samples = _moved(session, context, uids, SampleEvent.COLLECT)
    for sample in samples:
        sample.date_collected = collected
    session.flush()
    return samples


def receive_samples(session: Session, context: LabContext, uids: Sequence[str]) -> list[Sample]:
    """Take samples into the laboratory. What is due counts from now.

    :raises WrongState: a sample is not expected.
    """
    samples = _moved(session, context, uids, SampleEvent.RECEIVE)
    for sample in samples:
        later = (sample.date_received or now()) - sample.created_at
        sample.due_date += later
        own = AnalysisResult.sample_uid == sample.uid
        session.execute(update(AnalysisResult).where(own).values(due_date=AnalysisResult.due_date + later))
    session.flush()
    return samples


def cancel_samples(session: Session, context: LabContext, uids: Sequence[str]) -> list[Sample]:
    """Cancel samples and their pending results.

    :raises WrongState: a sample is past being cancelled.
    :raises ChangeRefused: work on a sample has begun.
    """
    samples = rows(session, Sample, uids, lock=True)
    _check_untouched(session, samples, SampleEvent.CANCEL)
    for sample in samples:
        move(session, context, [sample], SampleEvent.CANCEL)
    _cancel_pending(session, context, samples)
    return samples


def reject_samples(session: Session, context: LabContext, uids: Sequence[str], reasons: Sequence[str]) -> list[Sample]:
    """Reject samples that are not fit for analysis, for reasons given by uid; their pending results are cancelled.

    :raises WrongState: a sample is past being rejected.
    :raises ChangeRefused: work on a sample has begun.
    :raises InputRejected: no reason is given.
    :raises ReferenceRejected: a reason is not there or not active.
    """
    if not reasons:
        raise InputRejected("Rejection reasons", "", "give at least one.")
    referred(session, RejectionReason, reasons, "rejection_reasons")
    samples = rows(session, Sample, uids, lock=True)
    _check_untouched(session, samples, SampleEvent.REJECT)
    for sample in samples:
        move(session, context, [sample], SampleEvent.REJECT)
    _cancel_pending(session, context, samples)
    links = [
        {"sample_uid": sample.uid, "rejection_reason_uid": uid} for sample in samples for uid in dict.fromkeys(reasons)
    ]
    session.execute(insert(sample_rejection_reason), links)
    return samples


def reinstate_samples(session: Session, context: LabContext, uids: Sequence[str]) -> list[Sample]:
    """Bring cancelled samples back into the laboratory, and all their cancelled results to pending.

    :raises WrongState: a sample is not cancelled.
    """
    samples = _moved(session, context, uids, SampleEvent.REINSTATE)
    moment = now()
    for sample in samples:
        if sample.date_received is None:
            sample.received_by_uid, sample.date_received = context.user_uid, moment
    with act(session, "reinstate"):
        for one in results_of(session, [sample.uid for sample in samples]):
            if one.status == ResultState.CANCELLED:
                one.status = RESULTS.target(ResultState.CANCELLED, ResultEvent.REINSTATE, of=one.uid)
                one.cancelled_by_uid = one.date_cancelled = None
    follow(session, context, samples)
    return samples


def store_samples(
    session: Session, context: LabContext, uids: Sequence[str], location: str | None = None
) -> list[Sample]:
    """Put received samples aside; ``location`` says where.

    :raises WrongState: a sample is not received.
    """
    where = None if location is None else parse_name("Storage location", location)
    samples = _moved(session, context, uids, SampleEvent.STORE)
    for sample in samples:
        sample.storage_location = where
    session.flush()
    return samples


def recover_samples(session: Session, context: LabContext, uids: Sequence[str]) -> list[Sample]:
    """Take stored samples out again.

    :raises WrongState: a sample is not stored.
    """
    samples = _moved(session, context, uids, SampleEvent.RECOVER)
    for sample in samples:
        sample.storage_location = None
    session.flush()
    return samples


def invalidate_sample(session: Session, context: LabContext, uid: str, reason: str) -> Sample:
    """Say that an approved or published sample's results must not be used; the corrected copy, ready to be worked on.

    Its reports are invalidated too. The copy is numbered ``..._R01``, belongs to the same request, is received, and
    asks anew for what was reported, by the set-up of today; its report will be an amended one.

    :raises WrongState: the sample is neither approved nor published.
    """
    reason = parse_name("Reason", reason)
    rules = house_rules(session, context, "sample")
    [sample] = rows(session, Sample, [uid], lock=True)
    if sample.qc_set_uid is not None:
        raise ChangeRefused(f"Sample {sample.sample_id} is a control; run another one instead.")
    move(session, context, [sample], SampleEvent.INVALIDATE)
    moment = now()
    with act(session, "invalidate"):
        sample.invalidation_reason = reason
        results = results_of(session, [sample.uid])
        for one in results:
            one.invalidated_by_uid, one.date_invalidated = context.user_uid, moment
        issued = select(ReportImpress).where(ReportImpress.sample_uid == sample.uid)
        for report in session.scalars(issued):
            report.state, report.date_invalidated = ReportState.INVALIDATED, moment
    analyses = list(dict.fromkeys(one.analysis_uid for one in results if one.reportable))
    profiles = session.scalars(select(sample_profile.c.profile_uid).filter_by(sample_uid=sample.uid)).all()
    [sample_copy] = copy_samples(session, [(sample.sample_type_uid, profiles, analyses)])
    copies = copy_analyses(session, rules.laboratory_uid, [AnalysisWanted(one) for one in analyses])
    corrected = Sample(
        uid=new_uid(),
        laboratory_uid=sample.laboratory_uid,
        sample_id=_number_of_copy(session, sample.sample_id),
        analysis_request_uid=sample.analysis_request_uid,
        sample_type_uid=sample.sample_type_uid,
        parent_uid=sample.uid,
        relationship_type=Relationship.DERIVED,
        priority=sample.priority,
        status=SampleState.RECEIVED,
        date_collected=sample.date_collected,
        date_received=moment,
        received_by_uid=context.user_uid,
        due_date=moment,
        internal_use=sample.internal_use,
        printed=False,
        snapshot_hash=sample_copy.hash,
        snapshot_version=1,
    )
    isolates = select(OrganismResult.analysis_result_uid).where(OrganismResult.sample_uid == sample.uid)
    carried = {AST_ORGANISM, AST_ANTIBIOTIC} if session.scalar(isolates.limit(1)) else set()
    asked = {one: copies[AnalysisWanted(one)] for one in analyses}
    pending = pending_results(
        corrected, {one: copy for one, copy in asked.items() if copy.content["keyword"] not in carried}
    )
    corrected.due_date = max((one.due_date for one in pending), default=moment + timedelta(days=1))
    session.add(corrected)
    session.flush()
    if analyses:
        session.execute(
            insert(sample_analysis), [{"sample_uid": corrected.uid, "analysis_uid": one} for one in analyses]
        )
    if profiles:
        session.execute(insert(sample_profile), [{"sample_uid": corrected.uid, "profile_uid": one} for one in profiles])
    session.add_all(pending)
    session.flush()
    versions = [Version(Subject.SAMPLE, corrected.uid, sample_copy)]
    versions += [Version(Subject.ANALYSIS_RESULT, one.uid, copies[AnalysisWanted(one.analysis_uid)]) for one in pending]
    note_versions(session, context, versions, Occasion.REGISTRATION, reason)
    if carried:
        carry_isolates(session, context, sample, corrected)
    return corrected


def _moved(session: Session, context: LabContext, uids: Sequence[str], event: SampleEvent) -> list[Sample]:
    samples = rows(session, Sample, uids, lock=True)
    for sample in samples:
        move(session, context, [sample], event)
    return samples


def _check_untouched(session: Session, samples: Sequence[Sample], event: SampleEvent) -> None:
    """:raises ChangeRefused: work on one of the samples has begun."""
    states: dict[str, list[tuple[ResultState, bool]]] = {one.uid: [] for one in samples}
    for one in results_of(session, list(states)):
        states[one.sample_uid].append((ResultState(one.status), one.worksheet_uid is not None))
    for sample in samples:
        if not is_untouched(states[sample.uid]):
            raise ChangeRefused(
                f"Sample {sample.sample_id}: {event} is possible while no result is on a worksheet or entered."
            )


def _cancel_pending(session: Session, context: LabContext, samples: Sequence[Sample]) -> None:
    with act(session, "cancel"):
        for one in results_of(session, [sample.uid for sample in samples]):
            if one.status == ResultState.PENDING:
                one.status = RESULTS.target(ResultState.PENDING, ResultEvent.CANCEL, of=one.uid)
                one.cancelled_by_uid, one.date_cancelled = context.user_uid, now()


def _number_of_copy(session: Session, sample_id: str) -> str:
    found = COPY.fullmatch(sample_id)
    original = sample_id if found is None else found["of"]
    # Safe without a lock of its own: the sample that is being invalidated is locked, and it is the newest of its line.
    copied = session.scalars(
        select(Sample.sample_id).where(Sample.sample_id.startswith(f"{original}_R", autoescape=True))
    )
    numbers = [int(one["number"]) for one in map(COPY.fullmatch, copied) if one is not None and one["number"]]
    return f"{original}_R{max(numbers, default=0) + 1:02}"
