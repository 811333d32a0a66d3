"""Work on results: enter and judge them, verify them by different people, cancel them, have them done again.

Each function takes its results whole or not at all: one that may not be changed leaves all as they were. Afterwards
samples and worksheets follow their results.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, BindParameter, String, any_, bindparam, func, select

from beak_lims.audit import act
from beak_lims.crypto import keyring
from beak_lims.errors import ChangeRefused, InputRejected
from beak_lims.inputs import parse_name
from beak_lims.judging import SEPARATOR, Age, Judgement, Mutation, judge
from beak_lims.judging import Subject as Judged
from beak_lims.models import (
    AnalysisRequest,
    AnalysisResult,
    LaboratoryInstrument,
    Method,
    Occasion,
    ResultMutation,
    ResultVerification,
    Sample,
    Snapshot,
    SnapshotContent,
    Step,
    Subject,
    Worksheet,
)
from beak_lims.services.following import follow
from beak_lims.services.house_rules import house_rules, now
from beak_lims.services.rows import locked_results, referred, rows
from beak_lims.snapshots.taking import UseWanted, Version, add_use, note_versions
from beak_lims.workflow.results import RESULTS, ResultEvent, ResultState, refusal_to_verify
from beak_lims.workflow.samples import IN_WORK, SampleState
from tenantry.registry.uids import new_uid

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext


_UIDS: BindParameter[Any] = bindparam("uids", type_=ARRAY(String))
_CONTENTS = select(SnapshotContent.hash, SnapshotContent.content).where(
    SnapshotContent.hash == any_(bindparam("hashes", type_=ARRAY(String)))
)
_PATIENTS = (
    select(AnalysisRequest.uid, SnapshotContent.content["patient"].label("patient"), Snapshot.identity)
    .join(SnapshotContent, SnapshotContent.hash == AnalysisRequest.snapshot_hash)
    .join(
        Snapshot,
        (Snapshot.subject_uid == AnalysisRequest.uid) & (Snapshot.version == AnalysisRequest.snapshot_version),
    )
    .where(AnalysisRequest.uid == any_(_UIDS))
)
_VERIFIED = select(ResultVerification.analysis_result_uid, ResultVerification.user_uid).where(
    ResultVerification.analysis_result_uid == any_(_UIDS)
)


@dataclass(frozen=True)
class Entry:
    """A value for a pending result. Several values are options of a multi-select list.

    Method and device are those of the worksheet where they are not given; the analyst is who enters the value.
    """

    result_uid: str
    value: str | Sequence[str]
    method_uid: str | None = None
    laboratory_instrument_uid: str | None = None
    analyst_uid: str | None = None
    note: str | None = None
    interims: Mapping[str, str] = field(default_factory=dict)


def submit_results(session: Session, context: LabContext, entries: Sequence[Entry]) -> list[AnalysisResult]:
    """Enter values and judge them by the copies frozen with the results.

    :raises RecordNotFound: a result is not there.
    :raises WrongState: a result is not pending.
    :raises ChangeRefused: a sample is not received, or a method or device is not one of the analysis's.
    :raises ReferenceRejected: a method or device is not there or not active.
    :raises InputRejected: a value is not one that its analysis may have, or a result comes twice.
    """
    by_uid = {entry.result_uid: entry for entry in entries}
    if len(by_uid) != len(entries):
        raise InputRejected("Results", str(len(entries)), "each result may come once.")
    results, samples = locked_results(session, by_uid)
    for one in results:
        sample = samples[one.sample_uid]
        RESULTS.target(ResultState(one.status), ResultEvent.SUBMIT, of=f"{one.uid} of sample {sample.sample_id}")
        if SampleState(sample.status) not in IN_WORK:
            raise ChangeRefused(
                f"Sample {sample.sample_id} is {sample.status}; results are entered once it is received."
            )
    used = _used(session, results, by_uid)
    contents = _copies(session, context, results, used)
    subjects = subjects_of(session, context, samples.values())
    moment = now()
    mutations: list[ResultMutation] = []
    with act(session, "submit"):
        for one in results:
            entry, (method_uid, device) = by_uid[one.uid], used[one.uid]
            sample = samples[one.sample_uid]
            judgement = judge(
                contents[one.uid],
                entry.value,
                subjects[sample.uid],
                method_uid=method_uid,
                instrument_uid=None if device is None else device.instrument_uid,
                sample_type_uid=sample.sample_type_uid,
            )
            _write(one, judgement)
            one.method_uid = method_uid
            one.laboratory_instrument_uid = None if device is None else device.uid
            one.status = RESULTS.target(ResultState.PENDING, ResultEvent.SUBMIT, of=one.uid)
            one.note = entry.note
            one.interims = json.dumps(dict(entry.interims)) if entry.interims else None
            one.analyst_uid = entry.analyst_uid or context.user_uid
            one.submitted_by_uid, one.date_submitted = context.user_uid, moment
            mutations += _mutations(one, judgement.mutations)
    session.add_all(mutations)
    session.flush()
    follow(session, context, samples.values())
    return results


def rejudge(session: Session, context: LabContext, results: Sequence[AnalysisResult], why: str) -> list[AnalysisResult]:
    """Judge entered values again, by the copies in force now; the results of which something changed.

    What was entered and the states stay as they are. The results must be locked.
    """
    entered = [one for one in results if one.entered is not None]
    samples = {one.uid: one for one in rows(session, Sample, {one.sample_uid for one in entered})}
    subjects = subjects_of(session, context, samples.values())
    contents = contents_of(session, entered)
    devices = devices_of(session, entered)
    changed = []
    for one in entered:
        content, sample = contents[one.snapshot_hash], samples[one.sample_uid]
        device = devices.get(one.laboratory_instrument_uid or "")
        judgement = judge(
            content,
            (one.entered or "").split(SEPARATOR),
            subjects[sample.uid],
            method_uid=one.method_uid,
            instrument_uid=None if device is None else device.instrument_uid,
            sample_type_uid=sample.sample_type_uid,
        )
        if (judgement.result, judgement.flag, judgement.details) == (one.result, one.flag, one.judgement):
            continue
        begins = Mutation(Step.REJUDGEMENT, one.result, judgement.entered, why)
        session.add_all(_mutations(one, [begins, *judgement.mutations], after=_last_ordinal(session, one.uid)))
        _write(one, judgement)
        changed.append(one)
    session.flush()
    return changed


def verify_results(session: Session, context: LabContext, uids: Sequence[str]) -> list[AnalysisResult]:
    """Verify results as the user at work; those whose last missing verifier this is are approved, and frozen.

    :raises RecordNotFound: a result is not there.
    :raises WrongState: a result is not resulted.
    :raises ChangeRefused: nobody is at work, or this person may not verify one of them.
    """
    results, samples = locked_results(session, uids)
    _verify(session, context, results, samples)
    follow(session, context, samples.values())
    return results


def retest_result(session: Session, context: LabContext, uid: str, reason: str, *, keep: bool) -> AnalysisResult:
    """Have a result done again; the new pending result, which goes by the same copy and holds no value.

    The old one is not reported any more. ``keep`` approves it, which takes a verifier as ever; else it is retracted.

    :raises WrongState: the result is not resulted.
    :raises ChangeRefused: it cannot be approved by this person alone.
    """
    reason = parse_name("Reason", reason)
    [original], samples = locked_results(session, [uid])
    sample = samples[original.sample_uid]
    content = contents_of(session, [original])[original.snapshot_hash]
    event = ResultEvent.APPROVE if keep else ResultEvent.RETRACT
    target = RESULTS.target(ResultState(original.status), event, of=f"{uid} of sample {sample.sample_id}")
    if keep:
        _verify(session, context, [original], samples)
        if original.status != ResultState.APPROVED:
            raise ChangeRefused("Another person has to verify this result before it can be kept. Retract it instead.")
    [copy] = add_use(session, [UseWanted(original.snapshot_hash)]).values()
    again = AnalysisResult(
        uid=new_uid(),
        laboratory_uid=original.laboratory_uid,
        sample_uid=original.sample_uid,
        analysis_uid=original.analysis_uid,
        parent_uid=original.uid,
        status=ResultState.PENDING,
        priority=sample.priority,
        due_date=now() + timedelta(minutes=content["tat_length_minutes"]),
        retest=True,
        reportable=True,
        snapshot_hash=copy.hash,
        snapshot_version=1,
    )
    with act(session, "retest"):
        original.status = target
        original.reportable = False
        session.add(again)
    aside = Mutation(Step.RETEST, original.result, None, reason)
    session.add_all(_mutations(original, [aside], after=_last_ordinal(session, original.uid)))
    note_versions(
        session,
        context,
        [Version(Subject.ANALYSIS_RESULT, again.uid, copy)],
        Occasion.RETEST,
        reason,
    )
    session.flush()
    follow(session, context, samples.values())
    return again


def cancel_results(session: Session, context: LabContext, uids: Sequence[str]) -> list[AnalysisResult]:
    """Take back pending results. A sample whose results are all cancelled is cancelled too.

    :raises WrongState: a result is not pending.
    :raises ChangeRefused: a result is on a worksheet.
    """
    results, samples = locked_results(session, uids)
    with act(session, "cancel"):
        for one in results:
            target = RESULTS.target(ResultState(one.status), ResultEvent.CANCEL, of=one.uid)
            if one.worksheet_uid is not None:
                raise ChangeRefused(f"Result {one.uid} is on a worksheet; take it off first.")
            one.status = target
            one.cancelled_by_uid, one.date_cancelled = context.user_uid, now()
    follow(session, context, samples.values())
    return results


def reinstate_results(session: Session, context: LabContext, uids: Sequence[str]) -> list[AnalysisResult]:
    """Make cancelled results pending again.

    :raises WrongState: a result is not cancelled.
    :raises ChangeRefused: its sample is not received.
    """
    results, samples = locked_results(session, uids)
    with act(session, "reinstate"):
        for one in results:
            sample = samples[one.sample_uid]
            target = RESULTS.target(ResultState(one.status), ResultEvent.REINSTATE, of=one.uid)
            if sample.status != SampleState.RECEIVED:
                raise ChangeRefused(f"Sample {sample.sample_id} is {sample.status}; reinstate it first.")
            one.status, one.cancelled_by_uid, one.date_cancelled = target, None, None
    return results


def contents_of(session: Session, results: Sequence[AnalysisResult]) -> dict[str, dict[str, Any]]:
    """The copies that results go by, by hash."""
    wanted = {one.snapshot_hash for one in results}
    found = session.execute(_CONTENTS, {"hashes": list(wanted)})
    return {row.hash: row.content for row in found}


def devices_of(session: Session, results: Sequence[AnalysisResult]) -> dict[str, LaboratoryInstrument]:
    """The devices that results name, by uid; those that stand idle now included."""
    wanted = {one.laboratory_instrument_uid for one in results if one.laboratory_instrument_uid is not None}
    if not wanted:
        return {}
    found = session.scalars(select(LaboratoryInstrument).where(LaboratoryInstrument.uid.in_(wanted)))
    return {one.uid: one for one in found}


def subjects_of(session: Session, context: LabContext, samples: Iterable[Sample]) -> dict[str, Judged]:
    """Of each sample, the sex and the age at its collection, as frozen with its request."""
    samples = list(samples)
    request_uids = {one.analysis_request_uid for one in samples if one.analysis_request_uid is not None}
    found: dict[str, Any] = {}
    if request_uids:
        found = {row.uid: row for row in session.execute(_PATIENTS, {"uids": list(request_uids)})}
    rules = house_rules(session, context, "analysis_result")
    subjects: dict[str, Judged] = {}
    for one in samples:
        row = found.get(one.analysis_request_uid or "")
        if row is None:
            subjects[one.uid] = Judged()
            continue
        on = rules.local(one.date_collected or one.date_received or one.created_at).date()
        subjects[one.uid] = Judged(row.patient["gender"], _age(row.patient["age"], row.identity, on))
    return subjects


def _age(years: int | None, identity: Mapping[str, Any] | None, on: date) -> Age | None:
    born = (identity or {}).get("date_of_birth")
    if born is not None:
        return Age.between(date.fromisoformat(keyring().decrypt(born)), on)
    return None if years is None else Age.of_years(years)


def _write(result: AnalysisResult, judgement: Judgement) -> None:
    result.entered, result.result = judgement.entered, judgement.result
    result.flag, result.judgement = judgement.flag, judgement.details


def _mutations(result: AnalysisResult, steps: Sequence[Mutation], *, after: int = 0) -> list[ResultMutation]:
    return [
        ResultMutation(
            laboratory_uid=result.laboratory_uid,
            analysis_result_uid=result.uid,
            ordinal=ordinal,
            step=step.step,
            before=step.before,
            after=step.after,
            why=step.why,
        )
        for ordinal, step in enumerate(steps, start=after + 1)
    ]


def _last_ordinal(session: Session, uid: str) -> int:
    of_result = ResultMutation.analysis_result_uid == uid
    return session.scalar(select(func.max(ResultMutation.ordinal)).where(of_result)) or 0


def _verify(
    session: Session, context: LabContext, results: Sequence[AnalysisResult], samples: Mapping[str, Sample]
) -> None:
    user_uid = context.user_uid
    if user_uid is None:
        raise ChangeRefused("Results are verified by a person; log in as one.")
    rules = house_rules(session, context, "result_verification")
    contents = contents_of(session, results)
    verified: dict[str, list[str]] = {one.uid: [] for one in results}
    for row in session.execute(_VERIFIED, {"uids": list(verified)}):
        verified[row.analysis_result_uid].append(row.user_uid)
    moment = now()
    made = []
    with act(session, "verify"):
        for one in results:
            content = contents[one.snapshot_hash]
            of = f"{one.uid} of sample {samples[one.sample_uid].sample_id}"
            by = verified[one.uid]
            RESULTS.target(ResultState(one.status), ResultEvent.VERIFY, of=of)
            refusal = refusal_to_verify(
                user_uid,
                submitted_by=one.submitted_by_uid,
                verified_by=by,
                self_verification=rules.allow_self_verification or content["self_verification"],
            )
            if refusal is not None:
                raise ChangeRefused(f"{content['name']} of sample {samples[one.sample_uid].sample_id}: {refusal}")
            made.append(
                ResultVerification(
                    laboratory_uid=one.laboratory_uid,
                    analysis_result_uid=one.uid,
                    user_uid=user_uid,
                    ordinal=len(by) + 1,
                )
            )
            last = len(by) + 1 >= content["required_verifications"]
            event = ResultEvent.APPROVE if last else ResultEvent.VERIFY
            one.status = RESULTS.target(ResultState(one.status), event, of=of)
            if last:
                one.date_verified = one.frozen_at = moment
        session.add_all(made)


def _used(
    session: Session, results: Sequence[AnalysisResult], entries: Mapping[str, Entry]
) -> dict[str, tuple[str | None, LaboratoryInstrument | None]]:
    """Of each result, the method and the device that were used."""
    sheets: dict[str, Worksheet] = {}
    on_sheets = {one.worksheet_uid for one in results if one.worksheet_uid is not None}
    if on_sheets:
        sheets = {one.uid: one for one in session.scalars(select(Worksheet).where(Worksheet.uid.in_(on_sheets)))}
    named: dict[str, tuple[str | None, str | None]] = {}
    for one in results:
        entry, sheet = entries[one.uid], sheets.get(one.worksheet_uid or "")
        method_uid, device_uid = entry.method_uid, entry.laboratory_instrument_uid
        if sheet is not None:
            method_uid = method_uid or sheet.method_uid
            device_uid = device_uid or sheet.laboratory_instrument_uid
        named[one.uid] = (method_uid, device_uid)
    referred(session, Method, {method for method, _ in named.values() if method is not None}, "method_uid")
    wanted = {device for _, device in named.values() if device is not None}
    devices = referred(session, LaboratoryInstrument, wanted, "laboratory_instrument_uid")
    return {uid: (method, None if device is None else devices[device]) for uid, (method, device) in named.items()}


def _copies(
    session: Session,
    context: LabContext,
    results: Sequence[AnalysisResult],
    used: Mapping[str, tuple[str | None, LaboratoryInstrument | None]],
) -> dict[str, dict[str, Any]]:
    """Of each result, what it is judged by: its copy, to which the method and the device that were used are added."""
    contents = contents_of(session, results)
    wanted: dict[str, UseWanted] = {}
    for one in results:
        method_uid, device = used[one.uid]
        if method_uid is not None or device is not None:
            _check_use(contents[one.snapshot_hash], method_uid, device)
            wanted[one.uid] = UseWanted(one.snapshot_hash, method_uid, None if device is None else device.uid)
    if not wanted:
        return {one.uid: contents[one.snapshot_hash] for one in results}
    made = add_use(session, wanted.values())
    versions = []
    for one in results:
        if one.uid in wanted:
            copy = made[wanted[one.uid]]
            one.snapshot_hash, one.snapshot_version = copy.hash, one.snapshot_version + 1
            versions.append(Version(Subject.ANALYSIS_RESULT, one.uid, copy, one.snapshot_version))
            contents[copy.hash] = copy.content
    note_versions(session, context, versions, Occasion.SUBMISSION)
    return {one.uid: contents[one.snapshot_hash] for one in results}


def _check_use(content: Mapping[str, Any], method_uid: str | None, device: LaboratoryInstrument | None) -> None:
    methods, instruments = content["methods"], content["instruments"]
    if method_uid is not None and methods and method_uid not in {one["uid"] for one in methods}:
        listed = ", ".join(one["name"] for one in methods)
        raise ChangeRefused(f"{content['name']} is done by {listed}; that method is not among them.")
    if device is not None and instruments and device.instrument_uid not in {one["uid"] for one in instruments}:
        listed = ", ".join(one["name"] for one in instruments)
        raise ChangeRefused(f"{content['name']} is measured on {listed}; {device.lab_name} is none of them.")
