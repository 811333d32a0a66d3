"""Routes that take CSV files of clients, patients and requests."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, Depends, Query

from beak_lims.api.doors import Work, permit
from beak_lims.api.fields import Outgoing
from beak_lims.api.importing import Imported, Outcome, import_csv
from beak_lims.api.routing import LabRouter, long_running

router = LabRouter(prefix="/imports", tags=["imports"])

Clients = Annotated[Work, Depends(permit("CREATE", "CLIENT"))]
Patients = Annotated[Work, Depends(permit("CREATE", "PATIENT"))]
Requests = Annotated[Work, Depends(permit("CREATE", "SAMPLE"))]
File = Annotated[bytes, Body(media_type="text/csv", description="UTF-8, with a header line")]
Partial = Annotated[bool, Query(description="Import the good rows of a file that has bad ones")]


class RowReportRow(Outgoing):
    """What became of one row."""

    line: int
    outcome: Outcome
    uid: str | None
    number: str | None
    reason: str | None


class Report(Outgoing):
    """What became of a file. With a bad row, and without ``partial``, nothing was imported."""

    imported: int
    refused: int
    rows: list[RowReportRow]


@router.post("/clients", summary="Import clients")
@long_running
def import_clients(lab: Clients, body: File, partial: Partial = False) -> Report:
    return _imported(lab, Imported.CLIENTS, body, partial)


@router.post("/patients", summary="Import patients")
@long_running
def import_patients(lab: Patients, body: File, partial: Partial = False) -> Report:
    return _imported(lab, Imported.PATIENTS, body, partial)


@router.post("/requests", summary="Import requests")
@long_running
def import_requests(lab: Requests, body: File, partial: Partial = False) -> Report:
    return _imported(lab, Imported.REQUESTS, body, partial)


def _imported(lab: Work, kind: Imported, body: bytes, partial: bool) -> Report:
    return Report.model_validate(import_csv(lab.session, lab.context, kind, body, partial=partial))
