"""What the API tells of requests, samples, results, worksheets and reports; and bodies that several routes take."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from beak_lims.api.fields import Incoming, Name, Outgoing, Reference
from beak_lims.models import AnalysisResult, Flag, ReportState, ResultMutation, ResultVerification, Sample, Step
from beak_lims.workflow.results import ResultState
from beak_lims.workflow.samples import SampleState
from beak_lims.workflow.worksheets import WorksheetState

MAX_BATCH = 200  # things that one call may change
Uids = Annotated[list[Reference], Field(min_length=1, max_length=MAX_BATCH)]


class Batch(Incoming):
    """Several things, changed together or not at all."""

    uids: Uids


class Reasoned(Incoming):
    """Why something is done; it is kept with it."""

    reason: Name


class Collected(Batch):
    """Samples that were collected."""

    date_collected: AwareDatetime | None = Field(None, description="Default: now")


class SampleRow(Outgoing):
    """A sample."""

    uid: str
    sample_id: str = Field(examples=["S26AA-00001"])
    analysis_request_uid: str | None
    sample_type_uid: str
    parent_uid: str | None
    relationship_type: str | None
    qc_set_uid: str | None
    qc_level_uid: str | None
    priority: int = Field(description="0 routine, 1 urgent, 2 stat")
    status: SampleState
    date_collected: datetime | None
    date_received: datetime | None
    date_submitted: datetime | None
    date_verified: datetime | None
    date_published: datetime | None
    date_invalidated: datetime | None
    invalidation_reason: str | None
    date_cancelled: datetime | None
    date_rejected: datetime | None
    storage_location: str | None
    due_date: datetime
    printed: bool
    internal_use: bool
    snapshot_version: int
    frozen_at: datetime | None
    laboratory_uid: str
    created_at: datetime
    updated_at: datetime


class ResultRow(Outgoing):
    """A result. ``entered`` is the value as it was typed in, ``result`` the one that is reported."""

    uid: str
    sample_uid: str
    analysis_uid: str
    parent_uid: str | None = Field(description="Of a retest, the result it takes the place of")
    status: ResultState
    entered: str | None
    result: str | None
    note: str | None
    flag: Flag | None
    judgement: dict[str, Any] | None = Field(description="The range, unit, sex and age by which it was judged")
    priority: int
    due_date: datetime
    method_uid: str | None
    laboratory_instrument_uid: str | None
    analyst_uid: str | None
    submitted_by_uid: str | None
    date_submitted: datetime | None
    date_verified: datetime | None
    date_invalidated: datetime | None
    retest: bool
    reportable: bool
    worksheet_uid: str | None
    worksheet_position: int | None
    snapshot_version: int
    frozen_at: datetime | None
    laboratory_uid: str


class MutationRow(Outgoing):
    """One step from the value that was entered to the one that is reported."""

    ordinal: int
    step: Step
    before: str | None
    after: str | None
    why: str


class VerificationRow(Outgoing):
    """That somebody verified a result."""

    ordinal: int
    user_uid: str
    created_at: datetime


class ResultHistory(ResultRow):
    """A result with the steps of its value and those who verified it."""

    mutations: list[MutationRow]
    verifications: list[VerificationRow]


class RequestRow(Outgoing):
    """A request."""

    uid: str
    request_id: str = Field(examples=["AR26-00001"])
    client_request_id: str | None
    patient_uid: str
    client_uid: str
    client_contact_uid: str | None
    internal_use: bool
    snapshot_version: int
    frozen_at: datetime | None
    laboratory_uid: str
    created_at: datetime


class SampleWithResults(SampleRow):
    """A sample with its results, in the order in which they were asked for."""

    results: list[ResultRow]


class RequestWithSamples(RequestRow):
    """A request with its samples and their results."""

    samples: list[SampleWithResults]


class WorksheetRow(Outgoing):
    """A worksheet."""

    uid: str
    worksheet_id: str = Field(examples=["WS26-00001"])
    worksheet_template_uid: str
    analysis_uid: str
    sample_type_uid: str | None
    method_uid: str | None
    laboratory_instrument_uid: str | None
    qc_set_uid: str | None
    analyst_uid: str | None
    state: WorksheetState
    positions: int
    assigned_count: int
    reserved: dict[str, str] = Field(description="The QC level of each position that a control stands at")
    laboratory_uid: str
    created_at: datetime


class WorksheetWithResults(WorksheetRow):
    """A worksheet with the results on it, by position."""

    results: list[ResultRow]


class ReportRow(Outgoing):
    """A report that was issued."""

    uid: str
    sample_uid: str
    issue: int
    state: ReportState
    supersedes_uid: str | None
    reason: str | None
    pages: int
    pdf_sha256: str
    date_generated: datetime
    date_invalidated: datetime | None
    generated_by_uid: str | None
    printed: bool
    laboratory_uid: str


class VersionRow(Outgoing):
    """A version of a row's copy of the set-up."""

    version: int
    occasion: str
    reason: str | None
    taken_at: datetime
    taken_by: str
    run_uid: str | None
    content_hash: str
    content: dict[str, Any]


def sample_with(sample: Sample, results: list[AnalysisResult]) -> SampleWithResults:
    """A sample and those of these results that are its own."""
    own = [ResultRow.model_validate(one) for one in results if one.sample_uid == sample.uid]
    return SampleWithResults(**SampleRow.model_validate(sample).model_dump(), results=own)


def history_of(
    result: AnalysisResult, mutations: list[ResultMutation], verifications: list[ResultVerification]
) -> ResultHistory:
    """A result and what became of it."""
    return ResultHistory(
        **ResultRow.model_validate(result).model_dump(),
        mutations=[MutationRow.model_validate(one) for one in mutations],
        verifications=[VerificationRow.model_validate(one) for one in verifications],
    )
