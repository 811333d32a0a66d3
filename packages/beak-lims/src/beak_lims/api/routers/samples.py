"""Routes of samples: the worklist, what happens to them, and the reports that are issued of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field
from sqlalchemy import select

from beak_lims.api.doors import Work, permit
from beak_lims.api.fields import ByReference, Code, Incoming, Name, References, Uid
from beak_lims.api.paging import LISTED, Page, Paged
from beak_lims.api.routing import LabRouter
from beak_lims.api.rows import (
    Batch,
    Collected,
    Reasoned,
    ReportRow,
    ResultRow,
    SampleRow,
    SampleWithResults,
    Uids,
    VersionRow,
    sample_with,
)
from beak_lims.models import ReportImpress, Sample
from beak_lims.services import reports, requests, samples, worklists
from beak_lims.services.rows import results_of, row
from beak_lims.services.worklists import Place
from beak_lims.snapshots.reading import versions_of
from beak_lims.workflow.samples import SampleState

router = LabRouter(prefix="/samples", tags=["samples"])

Reading = Annotated[Work, Depends(permit("READ", "SAMPLE"))]
Changing = Annotated[Work, Depends(permit("UPDATE", "SAMPLE"))]
Receiving = Annotated[Work, Depends(permit("CREATE", "SAMPLE"))]
Cancelling = Annotated[Work, Depends(permit("CANCEL", "SAMPLE"))]
Rejecting = Annotated[Work, Depends(permit("REJECT", "SAMPLE"))]
Storing = Annotated[Work, Depends(permit("STORE", "SAMPLE"))]
Invalidating = Annotated[Work, Depends(permit("INVALIDATE", "SAMPLE"))]
Publishing = Annotated[Work, Depends(permit("PUBLISH", "SAMPLE"))]


class Rejected(Batch):
    """Samples that are not fit for analysis, and why."""

    rejection_reason_uids: Uids


class Stored(Batch):
    """Samples that are put aside."""

    storage_location: Name | None = None


class More(Incoming):
    """What is asked for besides."""

    analysis_uids: References = Field(default_factory=list)
    profile_uids: References = Field(default_factory=list)


@router.get("", responses=LISTED, summary="The laboratory's samples, newest first, page by page")
def list_samples(
    lab: Reading,
    page: Paged,
    status: Annotated[SampleState | None, Query()] = None,
    sample_id: Annotated[Code | None, Query()] = None,
    analysis_request_uid: ByReference = None,
) -> list[SampleRow]:
    query = select(Sample)
    if status is not None:
        query = query.where(Sample.status == status.value)
    if sample_id is not None:
        query = query.where(Sample.sample_id == sample_id)
    if analysis_request_uid is not None:
        query = query.where(Sample.analysis_request_uid == analysis_request_uid)
    return [SampleRow.model_validate(one) for one in page.of(lab, query, newest_first=True)]


@router.get("/worklist", responses=LISTED, summary="Samples of one status, the most urgent first, page by page")
def list_sample_worklist(
    lab: Reading, page: Paged, status: Annotated[SampleState, Query()] = SampleState.RECEIVED
) -> list[SampleRow]:
    after = None if page.after is None else Place.parse(page.after)
    found = worklists.sample_worklist(lab.session, lab.context, status=status, after=after, limit=page.limit + 1)
    return [SampleRow.model_validate(one) for one in _turned(lab, page, found)]


@router.post("/collect", summary="Say that scheduled samples were collected")
def collect_samples(lab: Receiving, body: Collected) -> list[SampleRow]:
    return _told(lab, samples.collect_samples(lab.session, lab.context, body.uids, body.date_collected))


@router.post("/receive", summary="Take expected samples into the laboratory")
def receive_samples(lab: Receiving, body: Batch) -> list[SampleRow]:
    return _told(lab, samples.receive_samples(lab.session, lab.context, body.uids))


@router.post("/cancel", summary="Cancel samples of which no work has begun")
def cancel_samples(lab: Cancelling, body: Batch) -> list[SampleRow]:
    return _told(lab, samples.cancel_samples(lab.session, lab.context, body.uids))


@router.post("/reinstate", summary="Bring cancelled samples back")
def reinstate_samples(lab: Cancelling, body: Batch) -> list[SampleRow]:
    return _told(lab, samples.reinstate_samples(lab.session, lab.context, body.uids))


@router.post("/reject", summary="Reject samples that are not fit for analysis")
def reject_samples(lab: Rejecting, body: Rejected) -> list[SampleRow]:
    return _told(lab, samples.reject_samples(lab.session, lab.context, body.uids, body.rejection_reason_uids))


@router.post("/store", summary="Put received samples aside")
def store_samples(lab: Storing, body: Stored) -> list[SampleRow]:
    return _told(lab, samples.store_samples(lab.session, lab.context, body.uids, body.storage_location))


@router.post("/recover", summary="Take stored samples out again")
def recover_samples(lab: Storing, body: Batch) -> list[SampleRow]:
    return _told(lab, samples.recover_samples(lab.session, lab.context, body.uids))


@router.post("/publish", summary="Publish approved samples, each with its report")
def publish_samples(lab: Publishing, body: Batch) -> list[ReportRow]:
    return [ReportRow.model_validate(one) for one in reports.publish_samples(lab.session, lab.context, body.uids)]


@router.get("/{uid}", summary="One sample with its results")
def read_sample(lab: Reading, uid: Uid) -> SampleWithResults:
    sample = row(lab.session, Sample, uid)
    return sample_with(sample, list(results_of(lab.session, [uid])))


@router.post("/{uid}/analyses", summary="Ask for more in a sample that is not submitted yet")
def add_analyses(lab: Changing, uid: Uid, body: More) -> list[ResultRow]:
    made = requests.add_analyses(lab.session, lab.context, uid, analyses=body.analysis_uids, profiles=body.profile_uids)
    return [ResultRow.model_validate(one) for one in made]


@router.post("/{uid}/invalidate", summary="Say that a sample's results must not be used; gives the corrected copy")
def invalidate_sample(lab: Invalidating, uid: Uid, body: Reasoned) -> SampleRow:
    copy = samples.invalidate_sample(lab.session, lab.context, uid, body.reason)
    lab.session.refresh(copy)
    return SampleRow.model_validate(copy)


@router.get("/{uid}/snapshots", summary="The versions of the copy of the set-up that a sample goes by")
def list_sample_snapshots(lab: Reading, uid: Uid) -> list[VersionRow]:
    row(lab.session, Sample, uid)
    return [VersionRow.model_validate(one) for one in versions_of(lab.session, uid)]


@router.get("/{uid}/reports", summary="The reports that were issued of a sample")
def list_sample_reports(lab: Reading, uid: Uid) -> list[ReportRow]:
    row(lab.session, Sample, uid)
    issued = select(ReportImpress).where(ReportImpress.sample_uid == uid).order_by(ReportImpress.issue)
    return [ReportRow.model_validate(one) for one in lab.session.scalars(issued)]


@router.post("/{uid}/reports/preliminary", status_code=201, summary="Issue a preliminary report of a sample in work")
def issue_preliminary(lab: Publishing, uid: Uid) -> ReportRow:
    return ReportRow.model_validate(reports.issue_preliminary(lab.session, lab.context, uid))


@router.post("/{uid}/reports/amended", status_code=201, summary="Issue an amended report of a published sample")
def amend_report(lab: Publishing, uid: Uid, body: Reasoned) -> ReportRow:
    return ReportRow.model_validate(reports.amend_report(lab.session, lab.context, uid, body.reason))


def _told(lab: Work, changed: list[Sample]) -> list[SampleRow]:
    # What the database set, such as the time of the change, is read with the row.
    for one in changed:
        lab.session.refresh(one)
    return [SampleRow.model_validate(one) for one in changed]


def _turned(lab: Work, page: Page, found: Sequence[Sample]) -> Sequence[Sample]:
    """The page's rows; tells the answer's headers where the next one begins."""
    shown = found[: page.limit]
    last = shown[-1] if len(found) > page.limit else None
    page.tell(lab, None if last is None else str(Place(last.priority, last.due_date, last.uid)))
    return shown
