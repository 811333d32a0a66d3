"""Routes of analysis requests: registered whole, with their samples and what is asked for."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends
from pydantic import AwareDatetime, Field
from sqlalchemy import select

from beak_lims.api.doors import Work, permit, permit_once
from beak_lims.api.fields import ByReference, Incoming, Lines, Name, Reference, References, Uid
from beak_lims.api.paging import LISTED, Paged
from beak_lims.api.routing import LabRouter
from beak_lims.api.rows import RequestRow, RequestWithSamples, sample_with
from beak_lims.models import AnalysisRequest, Priority, Sample
from beak_lims.services import requests
from beak_lims.services.requests import MAX_SAMPLES
from beak_lims.services.rows import results_of, row

router = LabRouter(prefix="/analysis-requests", tags=["analysis requests"])

Reading = Annotated[Work, Depends(permit("READ", "SAMPLE"))]
Making = Annotated[Work, Depends(permit_once("CREATE", "SAMPLE"))]
Remarks = Annotated[list[Name], Field(max_length=100)]


class SampleBody(Incoming):
    """A sample to register; it must ask for an analysis, by itself or in a profile."""

    sample_type_uid: Reference
    analysis_uids: References = Field(default_factory=list)
    profile_uids: References = Field(default_factory=list)
    priority: Priority = Field(Priority.ROUTINE, description="0 routine, 1 urgent, 2 stat")
    date_collected: AwareDatetime | None = Field(None, description="One to come makes the sample scheduled")
    internal_use: bool = False


class ClinicalBody(Incoming):
    """What the clinician tells of the case."""

    clinical_indication: Lines | None = None
    treatment_notes: Lines | None = None
    symptoms: Remarks = Field(default_factory=list)
    pregnancy: bool | None = None
    breast_feeding: bool | None = None
    vitals: dict[Name, Name] = Field(default_factory=dict, max_length=50)
    codings: Remarks = Field(default_factory=list)


class NewRequest(Incoming):
    """A request to register."""

    patient_uid: Reference
    client_uid: Reference | None = Field(None, description="Default: the patient's")
    client_contact_uid: Reference | None = None
    client_request_id: Name | None = Field(None, description="The client's own number for it")
    internal_use: bool = False
    clinical_data: ClinicalBody | None = None
    samples: Annotated[list[SampleBody], Field(min_length=1, max_length=MAX_SAMPLES)]

    def asked(self) -> requests.NewRequest:
        """As the service takes it."""
        samples = [
            requests.NewSample(
                one.sample_type_uid,
                one.analysis_uids,
                one.profile_uids,
                one.priority,
                one.date_collected,
                one.internal_use,
            )
            for one in self.samples
        ]
        clinical: dict[str, Any] | None = None if self.clinical_data is None else self.clinical_data.model_dump()
        return requests.NewRequest(
            self.patient_uid,
            samples,
            self.client_uid,
            self.client_contact_uid,
            self.client_request_id,
            None if clinical is None else requests.NewClinicalData(**clinical),
            self.internal_use,
        )


@router.get("", responses=LISTED, summary="The laboratory's requests, newest first, page by page")
def list_requests(
    lab: Reading, page: Paged, patient_uid: ByReference = None, client_uid: ByReference = None
) -> list[RequestRow]:
    query = select(AnalysisRequest)
    if patient_uid is not None:
        query = query.where(AnalysisRequest.patient_uid == patient_uid)
    if client_uid is not None:
        query = query.where(AnalysisRequest.client_uid == client_uid)
    return [RequestRow.model_validate(one) for one in page.of(lab, query, newest_first=True)]


@router.post("", status_code=201, summary="Register a request with its samples")
def create_request(lab: Making, body: NewRequest) -> RequestWithSamples:
    made = requests.register_request(lab.session, lab.context, body.asked())
    samples = [sample_with(one, made.results) for one in made.samples]
    return RequestWithSamples(**RequestRow.model_validate(made.request).model_dump(), samples=samples)


@router.get("/{uid}", summary="One request with its samples and results")
def read_request(lab: Reading, uid: Uid) -> RequestWithSamples:
    request = row(lab.session, AnalysisRequest, uid)
    of_request = select(Sample).where(Sample.analysis_request_uid == uid).order_by(Sample.uid)
    samples = lab.session.scalars(of_request).all()
    results = list(results_of(lab.session, [one.uid for one in samples]))
    told = [sample_with(one, results) for one in samples]
    return RequestWithSamples(**RequestRow.model_validate(request).model_dump(), samples=told)
