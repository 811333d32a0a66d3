"""Worksheets: pending results of one analysis put together, with control samples at the template's reserved positions.

Samples are locked before results and results before worksheets, here as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from beak_lims.audit import act
from beak_lims.errors import ChangeRefused, InputRejected
from beak_lims.models import (
    AnalysisResult,
    Occasion,
    Priority,
    QCLevel,
    QCSet,
    QCTemplate,
    Sample,
    Subject,
    User,
    Worksheet,
    WorksheetTemplate,
    analysis_sample_type,
    sample_analysis,
)
from beak_lims.services.house_rules import HouseRules, house_rules, now
from beak_lims.services.requests import pending_results
from beak_lims.services.rows import locked_results, referred, row
from beak_lims.services.sequences import Kind, next_number, next_numbers
from beak_lims.snapshots.taking import AnalysisWanted, Version, copy_analyses, copy_samples, note_versions
from beak_lims.workflow.results import RESULTS, ResultEvent, ResultState
from beak_lims.workflow.samples import SampleState
from beak_lims.workflow.worksheets import WORKSHEETS, WorksheetEvent, WorksheetState
from tenantry.registry.uids import new_uid

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext


def create_worksheet(
    session: Session, context: LabContext, template_uid: str, *, analyst_uid: str | None = None, fill: bool = True
) -> Worksheet:
    """Make a worksheet by a template: its control samples, and the most urgent pending results at the other positions.

    Controls stand at the reserved positions; where the template reserves none, the levels of its QC template stand at
    the first ones. ``fill`` off leaves the other positions free. The analyst is the user at work unless another one is
    named.

    :raises RecordNotFound: there is no such template.
    :raises ChangeRefused: the laboratory makes no worksheets, or the template is not active.
    :raises InputRejected: a reserved position is not on the worksheet.
    :raises ReferenceRejected: a reserved position names no QC level of the laboratory, or the analyst is unknown.
    """
    rules = house_rules(session, context, "worksheet")
    if not rules.allow_worksheet_creation:
        raise ChangeRefused("This laboratory makes no worksheets; its setting allow_worksheet_creation is off.")
    template = row(session, WorksheetTemplate, template_uid)
    if not template.active:
        raise ChangeRefused(f"Template {template.name} is not active.")
    if analyst_uid is not None:
        referred(session, User, [analyst_uid], "analyst_uid")
    positions = template.rows * template.cols
    reserved = template.reserved
    if not reserved and template.qc_template_uid is not None:
        run = row(session, QCTemplate, template.qc_template_uid)
        reserved = {str(at): level.uid for at, level in enumerate(run.levels, start=1)}
    sheet = Worksheet(
        uid=new_uid(),
        laboratory_uid=rules.laboratory_uid,
        worksheet_template_uid=template.uid,
        analysis_uid=template.analysis_uid,
        sample_type_uid=template.sample_type_uid,
        method_uid=template.method_uid,
        laboratory_instrument_uid=template.laboratory_instrument_uid,
        analyst_uid=analyst_uid or context.user_uid,
        state=WorksheetState.EMPTY,
        positions=positions,
        reserved=check_reserved(reserved, positions),
        assigned_count=0,
    )
    # Candidates are locked before numbers are taken: whoever waits here holds no counter.
    candidates = _candidates(session, sheet, len(_free(session, sheet))) if fill else []
    chosen, samples = locked_results(session, candidates)
    controls = _control_samples(session, context, rules, sheet)
    sheet.worksheet_id = next_number(session, Kind.WORKSHEET, rules.today())
    session.add(sheet)
    session.flush()
    levels = sorted(sheet.reserved.items(), key=lambda item: int(item[0]))
    _put(session, sheet, [(int(position), one) for (position, _), one in zip(levels, controls, strict=True)])
    fitting = [one for one in chosen if _fits(sheet, one, samples[one.sample_uid])]
    _put(session, sheet, list(zip(_free(session, sheet), fitting, strict=False)))
    return sheet


def assign_results(session: Session, context: LabContext, worksheet_uid: str, uids: Sequence[str]) -> Worksheet:
    """Put pending results at the worksheet's free positions, in this order.

    :raises RecordNotFound: there is no such worksheet or result.
    :raises WrongState: entering of results has begun on the worksheet, or a result is not pending.
    :raises ChangeRefused: a result does not belong on it, is on another one, or no position is free.
    """
    results, samples = locked_results(session, uids)
    sheet = row(session, Worksheet, worksheet_uid, lock=True)
    for one in results:
        sample = samples[one.sample_uid]
        RESULTS.target(ResultState(one.status), ResultEvent.ASSIGN, of=f"{one.uid} of sample {sample.sample_id}")
        if not _fits(sheet, one, sample):
            raise ChangeRefused(
                f"A result of sample {sample.sample_id} does not belong on {sheet.worksheet_id}: a worksheet takes "
                "results of its analysis and sample type that are on no worksheet, of received samples."
            )
    free = _free(session, sheet)
    if len(free) < len(results):
        raise ChangeRefused(f"{sheet.worksheet_id} has {len(free)} free positions, {len(results)} are needed.")
    _put(session, sheet, list(zip(free, results, strict=False)))
    return sheet


def unassign_results(session: Session, context: LabContext, worksheet_uid: str, uids: Sequence[str]) -> Worksheet:
    """Take pending results off their worksheet.

    :raises RecordNotFound: there is no such worksheet or result.
    :raises WrongState: entering of results has begun on the worksheet.
    :raises ChangeRefused: a result is not on it, or is a control's.
    """
    results, samples = locked_results(session, uids)
    sheet = row(session, Worksheet, worksheet_uid, lock=True)
    on_it = session.scalars(select(AnalysisResult.uid).where(AnalysisResult.worksheet_uid == sheet.uid)).all()
    for one in results:
        RESULTS.target(ResultState(one.status), ResultEvent.UNASSIGN, of=one.uid)
        if one.uid not in on_it or samples[one.sample_uid].qc_set_uid is not None:
            raise ChangeRefused(f"Result {one.uid} is not on {sheet.worksheet_id}, or is a control's; controls stay.")
    event = WorksheetEvent.UNASSIGN if set(on_it) - set(uids) else WorksheetEvent.CLEAR
    with act(session, event.value):
        sheet.state = WORKSHEETS.target(WorksheetState(sheet.state), event, of=sheet.worksheet_id)
        sheet.assigned_count -= len(results)
        for one in results:
            one.worksheet_uid = one.worksheet_position = None
    return sheet


def place(position: int, *, rows: int, cols: int, row_wise: bool) -> tuple[int, int]:
    """The row and the column of a position, both from 1."""
    high, low = divmod(position - 1, cols if row_wise else rows)
    return (high + 1, low + 1) if row_wise else (low + 1, high + 1)


def check_reserved(reserved: Mapping[str, str], positions: int) -> dict[str, str]:
    """The reserved positions of a template as they are kept. :raises InputRejected: one is not on the worksheet."""
    for position in reserved:
        if not position.isdecimal() or not position.isascii() or not 1 <= int(position) <= positions:
            raise InputRejected("Reserved position", position, f"positions go from 1 to {positions}.")
    return {str(int(position)): level for position, level in reserved.items()}


def _put(session: Session, sheet: Worksheet, placed: Sequence[tuple[int, AnalysisResult]]) -> None:
    if not placed:
        return
    with act(session, "assign"):
        sheet.state = WORKSHEETS.target(WorksheetState(sheet.state), WorksheetEvent.ASSIGN, of=sheet.worksheet_id)
        sheet.assigned_count += len(placed)
        for position, one in placed:
            one.worksheet_uid, one.worksheet_position = sheet.uid, position


def _free(session: Session, sheet: Worksheet) -> list[int]:
    taken = {int(position) for position in sheet.reserved}
    taken |= set(
        session.scalars(select(AnalysisResult.worksheet_position).where(AnalysisResult.worksheet_uid == sheet.uid))
    )
    return [position for position in range(1, sheet.positions + 1) if position not in taken]


def _candidates(session: Session, sheet: Worksheet, limit: int) -> list[str]:
    """The most urgent pending results that belong on the worksheet."""
    wanted = (
        select(AnalysisResult.uid)
        .join(Sample, Sample.uid == AnalysisResult.sample_uid)
        .where(
            AnalysisResult.laboratory_uid == sheet.laboratory_uid,
            AnalysisResult.analysis_uid == sheet.analysis_uid,
            AnalysisResult.status == ResultState.PENDING,
            AnalysisResult.worksheet_uid.is_(None),
            Sample.status == SampleState.RECEIVED,
            Sample.qc_set_uid.is_(None),
        )
        .order_by(-AnalysisResult.priority, AnalysisResult.due_date, AnalysisResult.uid)
        .limit(limit)
    )
    if sheet.sample_type_uid is not None:
        wanted = wanted.where(Sample.sample_type_uid == sheet.sample_type_uid)
    return list(session.scalars(wanted))


def _fits(sheet: Worksheet, result: AnalysisResult, sample: Sample) -> bool:
    return (
        result.analysis_uid == sheet.analysis_uid
        and result.status == ResultState.PENDING
        and result.worksheet_uid is None
        and sample.status == SampleState.RECEIVED
        and sheet.sample_type_uid in (None, sample.sample_type_uid)
    )


def _control_samples(
    session: Session, context: LabContext, rules: HouseRules, sheet: Worksheet
) -> list[AnalysisResult]:
    """Make a run of control samples, one for each reserved position; their pending results, by position."""
    reserved = [sheet.reserved[position] for position in sorted(sheet.reserved, key=int)]
    if not reserved:
        return []
    referred(session, QCLevel, reserved, "reserved")
    kind = sheet.sample_type_uid or session.scalar(
        select(analysis_sample_type.c.sample_type_uid)
        .where(analysis_sample_type.c.analysis_uid == sheet.analysis_uid)
        .order_by(analysis_sample_type.c.sample_type_uid)
        .limit(1)
    )
    if kind is None:
        raise ChangeRefused("Controls need a sample type: name one in the worksheet's template or in its analysis.")
    [sample_copy] = copy_samples(session, [(kind, (), [sheet.analysis_uid])])
    wanted = [AnalysisWanted(sheet.analysis_uid, level) for level in reserved]
    copies = copy_analyses(session, rules.laboratory_uid, wanted)
    moment = now()
    run = QCSet(
        uid=new_uid(), laboratory_uid=rules.laboratory_uid, name=next_number(session, Kind.QC_SET, rules.today())
    )
    session.add(run)
    session.flush()
    sheet.qc_set_uid = run.uid
    numbers = next_numbers(session, Kind.SAMPLE, len(reserved), rules.today())
    samples = [
        Sample(
            uid=new_uid(),
            laboratory_uid=rules.laboratory_uid,
            sample_id=number,
            sample_type_uid=kind,
            qc_set_uid=run.uid,
            qc_level_uid=level,
            priority=Priority.ROUTINE,
            status=SampleState.RECEIVED,
            date_received=moment,
            received_by_uid=context.user_uid,
            due_date=moment + timedelta(days=1),
            internal_use=True,
            printed=False,
            snapshot_hash=sample_copy.hash,
            snapshot_version=1,
        )
        for number, level in zip(numbers, reserved, strict=True)
    ]
    session.add_all(samples)
    session.flush()
    session.execute(
        insert(sample_analysis), [{"sample_uid": one.uid, "analysis_uid": sheet.analysis_uid} for one in samples]
    )
    results, versions = [], []
    for one, want in zip(samples, wanted, strict=True):
        [result] = pending_results(one, {sheet.analysis_uid: copies[want]})
        results.append(result)
        versions.append(Version(Subject.SAMPLE, one.uid, sample_copy))
        versions.append(Version(Subject.ANALYSIS_RESULT, result.uid, copies[want]))
    session.add_all(results)
    session.flush()
    note_versions(session, context, versions, Occasion.REGISTRATION)
    return results
