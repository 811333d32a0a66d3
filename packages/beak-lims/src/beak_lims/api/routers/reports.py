"""Routes of issued reports. What is handed out is the PDF as it was issued."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query
from sqlalchemy import select
from starlette.responses import Response

from beak_lims.api.doors import Work, permit
from beak_lims.api.fields import ByReference, Uid
from beak_lims.api.paging import LISTED, Paged
from beak_lims.api.routing import LabRouter
from beak_lims.api.rows import ReportRow
from beak_lims.models import ReportImpress, ReportState
from beak_lims.services.reports import pdf_of, print_report
from beak_lims.services.rows import row

router = LabRouter(prefix="/reports", tags=["reports"])

Reading = Annotated[Work, Depends(permit("READ", "SAMPLE"))]
Printing = Annotated[Work, Depends(permit("PRINT", "SAMPLE"))]
PDF: dict[int | str, dict[str, Any]] = {
    200: {"description": "The PDF", "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get("", responses=LISTED, summary="The laboratory's issued reports, newest first, page by page")
def list_reports(
    lab: Reading,
    page: Paged,
    sample_uid: ByReference = None,
    state: Annotated[ReportState | None, Query()] = None,
) -> list[ReportRow]:
    query = select(ReportImpress)
    if sample_uid is not None:
        query = query.where(ReportImpress.sample_uid == sample_uid)
    if state is not None:
        query = query.where(ReportImpress.state == state.value)
    return [ReportRow.model_validate(one) for one in page.of(lab, query, newest_first=True)]


@router.get("/{uid}", summary="One report")
def read_report(lab: Reading, uid: Uid) -> ReportRow:
    return ReportRow.model_validate(row(lab.session, ReportImpress, uid))


@router.get("/{uid}/pdf", responses=PDF, summary="The PDF of a report")
def read_report_pdf(lab: Reading, uid: Uid) -> Response:
    return _file(pdf_of(row(lab.session, ReportImpress, uid)))


@router.post("/{uid}/print", responses=PDF, summary="The PDF of a report, and note that it was printed")
def print_report_pdf(lab: Printing, uid: Uid) -> Response:
    return _file(print_report(lab.session, lab.context, uid))


def _file(pdf: bytes) -> Response:
    return Response(pdf, media_type="application/pdf", headers={"Cache-Control": "no-store"})
