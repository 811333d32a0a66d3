"""Routes of worksheets and their templates, and of quality control: levels, templates of runs, references, runs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field, StringConstraints
from sqlalchemy import select

from beak_lims.api.crud import Noun, add_crud
from beak_lims.api.doors import Work, permit, permit_once
from beak_lims.api.fields import ByReference, Incoming, Outgoing, Reference, Uid
from beak_lims.api.paging import LISTED, Paged
from beak_lims.api.routing import LabRouter
from beak_lims.api.rows import Batch, ResultRow, SampleRow, WorksheetRow, WorksheetWithResults
from beak_lims.models import (
    AnalysisResult,
    QCLevel,
    QCReference,
    QCSet,
    QCTemplate,
    Sample,
    Worksheet,
    WorksheetTemplate,
)
from beak_lims.services import worksheets
from beak_lims.services.rows import row
from beak_lims.workflow.worksheets import WorksheetState

router = LabRouter(tags=["worksheets"])

Reading = Annotated[Work, Depends(permit("READ", "WORKSHEET"))]
Making = Annotated[Work, Depends(permit_once("CREATE", "WORKSHEET"))]
Assigning = Annotated[Work, Depends(permit("ASSIGN", "WORKSHEET"))]
Position = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,4}$")]

NOUNS = (
    Noun(QCLevel, "/qc-levels", "WORKSHEET"),
    Noun(QCTemplate, "/qc-templates", "WORKSHEET", links={"qc_level_uids": "levels"}),
    Noun(QCReference, "/qc-references", "WORKSHEET", search=("lot",)),
    Noun(
        WorksheetTemplate,
        "/worksheet-templates",
        "WORKSHEET",
        fields={
            "rows": Annotated[int, Field(ge=1, le=100)],
            "cols": Annotated[int, Field(ge=1, le=100)],
            "reserved": Annotated[dict[Position, Reference], Field(max_length=100)],
        },
    ),
)

for noun in NOUNS:
    add_crud(router, noun)


class NewWorksheet(Incoming):
    """A worksheet to make."""

    worksheet_template_uid: Reference
    analyst_uid: Reference | None = Field(None, description="Default: the caller")
    fill: bool = Field(True, description="Put the most urgent pending results at the free positions")


class QCSetRow(Outgoing):
    """One run of control samples."""

    uid: str
    name: str
    note: str | None
    laboratory_uid: str
    created_at: datetime


@router.get("/worksheets", responses=LISTED, summary="The laboratory's worksheets, newest first, page by page")
def list_worksheets(
    lab: Reading,
    page: Paged,
    state: Annotated[WorksheetState | None, Query()] = None,
    analysis_uid: ByReference = None,
) -> list[WorksheetRow]:
    query = select(Worksheet)
    if state is not None:
        query = query.where(Worksheet.state == state.value)
    if analysis_uid is not None:
        query = query.where(Worksheet.analysis_uid == analysis_uid)
    return [WorksheetRow.model_validate(one) for one in page.of(lab, query, newest_first=True)]


@router.post("/worksheets", status_code=201, summary="Make a worksheet by a template, with its control samples")
def create_worksheet(lab: Making, body: NewWorksheet) -> WorksheetWithResults:
    made = worksheets.create_worksheet(
        lab.session, lab.context, body.worksheet_template_uid, analyst_uid=body.analyst_uid, fill=body.fill
    )
    return _told(lab, made)


@router.get("/worksheets/{uid}", summary="One worksheet with the results on it")
def read_worksheet(lab: Reading, uid: Uid) -> WorksheetWithResults:
    return _told(lab, row(lab.session, Worksheet, uid))


@router.post("/worksheets/{uid}/assign", summary="Put pending results at the free positions")
def assign_results(lab: Assigning, uid: Uid, body: Batch) -> WorksheetWithResults:
    return _told(lab, worksheets.assign_results(lab.session, lab.context, uid, body.uids))


@router.post("/worksheets/{uid}/unassign", summary="Take pending results off a worksheet")
def unassign_results(lab: Assigning, uid: Uid, body: Batch) -> WorksheetWithResults:
    return _told(lab, worksheets.unassign_results(lab.session, lab.context, uid, body.uids))


@router.get("/qc-sets", responses=LISTED, summary="The laboratory's runs of controls, newest first, page by page")
def list_qc_sets(lab: Reading, page: Paged) -> list[QCSetRow]:
    return [QCSetRow.model_validate(one) for one in page.of(lab, select(QCSet), newest_first=True)]


@router.get("/qc-sets/{uid}/samples", summary="The control samples of a run")
def list_qc_set_samples(lab: Reading, uid: Uid) -> list[SampleRow]:
    row(lab.session, QCSet, uid)
    found = lab.session.scalars(select(Sample).where(Sample.qc_set_uid == uid).order_by(Sample.uid))
    return [SampleRow.model_validate(one) for one in found]


def _told(lab: Work, sheet: Worksheet) -> WorksheetWithResults:
    lab.session.flush()
    lab.session.refresh(sheet)
    found = select(AnalysisResult).where(AnalysisResult.worksheet_uid == sheet.uid)
    results = lab.session.scalars(found.order_by(AnalysisResult.worksheet_position))
    told = [ResultRow.model_validate(one) for one in results]
    return WorksheetWithResults(**WorksheetRow.model_validate(sheet).model_dump(), results=told)
