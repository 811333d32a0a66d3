"""Routes of results: the worklist, entering and verifying values, retests."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field
from sqlalchemy import select

from beak_lims import access
from beak_lims.api.doors import Work, permit
from beak_lims.api.fields import ByReference, Incoming, Lines, Name, Outgoing, Reference, Uid
from beak_lims.api.paging import LISTED, Paged
from beak_lims.api.routing import LabRouter
from beak_lims.api.rows import MAX_BATCH, Batch, Reasoned, ResultHistory, ResultRow, VersionRow, history_of
from beak_lims.models import AnalysisResult, Flag, ResultMutation, ResultVerification
from beak_lims.services import results, worklists
from beak_lims.services.rows import row
from beak_lims.services.worklists import Place
from beak_lims.snapshots.reading import versions_of
from beak_lims.workflow.results import ResultState
from beak_lims.workflow.samples import SampleState

router = LabRouter(prefix="/results", tags=["results"])

Reading = Annotated[Work, Depends(permit("READ", "RESULT"))]
Submitting = Annotated[Work, Depends(permit("SUBMIT", "RESULT"))]
Approving = Annotated[Work, Depends(permit("APPROVE", "RESULT"))]
Cancelling = Annotated[Work, Depends(permit("CANCEL", "RESULT"))]
Retesting = Annotated[Work, Depends(permit("RETEST", "RESULT"))]
Value = Annotated[Lines, Field(min_length=1)]
Interims = Annotated[dict[Name, Name], Field(max_length=50)]


class EntryBody(Incoming):
    """A value for a pending result."""

    uid: Reference
    value: Value | Annotated[list[Value], Field(min_length=1, max_length=100)] = Field(
        description="Several values are options of a multi-select list"
    )
    method_uid: Reference | None = Field(None, description="Default: the worksheet's")
    laboratory_instrument_uid: Reference | None = Field(None, description="Default: the worksheet's")
    note: Lines | None = None
    interims: Interims = Field(default_factory=dict)


class Entries(Incoming):
    """Values, entered together or not at all."""

    entries: Annotated[list[EntryBody], Field(min_length=1, max_length=MAX_BATCH)]


class Retest(Reasoned):
    """Why a result is done again, and what becomes of it."""

    keep: bool = Field(False, description="Approve the old value, which takes a verifier; else it is retracted")


class WorklistRow(Outgoing):
    """A result to work on."""

    uid: str
    sample_uid: str
    sample_id: str
    sample_status: SampleState
    analysis_uid: str
    analysis: str
    status: ResultState
    flag: Flag | None
    priority: int
    due_date: datetime
    retest: bool
    worksheet_uid: str | None


@router.get("/worklist", responses=LISTED, summary="Results of one status, the most urgent first, page by page")
def list_result_worklist(
    lab: Reading,
    page: Paged,
    status: Annotated[ResultState, Query()] = ResultState.PENDING,
    analysis_uid: ByReference = None,
    department_uid: ByReference = None,
    unassigned: Annotated[bool, Query(description="Only those on no worksheet")] = False,
) -> list[WorklistRow]:
    found = worklists.result_worklist(
        lab.session,
        lab.context,
        status=status,
        analysis_uid=analysis_uid,
        department_uid=department_uid,
        unassigned=unassigned,
        after=None if page.after is None else Place.parse(page.after),
        limit=page.limit + 1,
    )
    shown = found[: page.limit]
    last = shown[-1] if len(found) > page.limit else None
    page.tell(lab, None if last is None else str(Place(last.priority, last.due_date, last.uid)))
    return [WorklistRow.model_validate(one) for one in shown]


@router.post("/submit", summary="Enter values; each is judged by the set-up frozen with its result")
def submit_results(lab: Submitting, body: Entries) -> list[ResultRow]:
    entries = [
        results.Entry(
            one.uid,
            one.value,
            one.method_uid,
            one.laboratory_instrument_uid,
            note=one.note,
            interims=one.interims,
        )
        for one in body.entries
    ]
    return _told(results.submit_results(lab.session, lab.context, entries))


@router.post("/verify", summary="Verify results as yourself; the last verifier that is needed approves them")
def verify_results(lab: Approving, body: Batch) -> list[ResultRow]:
    return _told(results.verify_results(lab.session, lab.context, body.uids))


@router.post("/cancel", summary="Take back pending results")
def cancel_results(lab: Cancelling, body: Batch) -> list[ResultRow]:
    return _told(results.cancel_results(lab.session, lab.context, body.uids))


@router.post("/reinstate", summary="Make cancelled results pending again")
def reinstate_results(lab: Cancelling, body: Batch) -> list[ResultRow]:
    return _told(results.reinstate_results(lab.session, lab.context, body.uids))


@router.get("/{uid}", summary="One result, the steps of its value and those who verified it")
def read_result(lab: Reading, uid: Uid) -> ResultHistory:
    one = row(lab.session, AnalysisResult, uid)
    steps = select(ResultMutation).where(ResultMutation.analysis_result_uid == uid).order_by(ResultMutation.ordinal)
    by = select(ResultVerification).where(ResultVerification.analysis_result_uid == uid)
    verified = lab.session.scalars(by.order_by(ResultVerification.ordinal))
    return history_of(one, list(lab.session.scalars(steps)), list(verified))


@router.post("/{uid}/retest", status_code=201, summary="Have a result done again; gives the new pending one")
def retest_result(lab: Retesting, uid: Uid, body: Retest) -> ResultRow:
    if body.keep:
        access.require(lab.context, "APPROVE", "RESULT")
    return ResultRow.model_validate(results.retest_result(lab.session, lab.context, uid, body.reason, keep=body.keep))


@router.get("/{uid}/snapshots", summary="The versions of the copy of the set-up that a result goes by")
def list_result_snapshots(lab: Reading, uid: Uid) -> list[VersionRow]:
    row(lab.session, AnalysisResult, uid)
    return [VersionRow.model_validate(one) for one in versions_of(lab.session, uid)]


def _told(changed: list[AnalysisResult]) -> list[ResultRow]:
    return [ResultRow.model_validate(one) for one in changed]
