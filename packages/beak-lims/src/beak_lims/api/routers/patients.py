"""Routes of the patients of the laboratory at work.

Who is looked for stands in a body, never in an address: addresses are written to logs.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field

from beak_lims.api.bodies import Identifications, NewPatient, Years
from beak_lims.api.doors import Work, permit, permit_once
from beak_lims.api.fields import (
    ByReference,
    Code,
    Email,
    Incoming,
    Name,
    Outgoing,
    Phone,
    Reference,
    Uid,
)
from beak_lims.api.paging import LISTED, Paged
from beak_lims.api.routing import LabRouter
from beak_lims.models.patient import Gender, Patient
from beak_lims.services import patients
from beak_lims.services.patients import Search

router = LabRouter(prefix="/patients", tags=["patients"])

Reading = Annotated[Work, Depends(permit("READ", "PATIENT"))]
Making = Annotated[Work, Depends(permit_once("CREATE", "PATIENT"))]
Changing = Annotated[Work, Depends(permit("UPDATE", "PATIENT"))]
Removing = Annotated[Work, Depends(permit("DELETE", "PATIENT"))]


class IdentificationRow(Outgoing):
    """One identification."""

    identification_uid: str
    value: str


class PatientChange(Incoming):
    """What is to change; the rest stays. Identifications replace those there are."""

    first_name: Name = None  # type: ignore[assignment]  # absent is not null: it may be left out, not emptied
    middle_name: Name | None = None
    last_name: Name = None  # type: ignore[assignment]  # the same
    gender: Gender = Gender.UNKNOWN
    date_of_birth: date | None = None
    age_dob_estimated: bool = False
    age: Years | None = None
    client_uid: Reference = None  # type: ignore[assignment]  # the same
    client_patient_id: Name = None  # type: ignore[assignment]  # the same
    mobile_phone: Phone | None = None
    home_phone: Phone | None = None
    email: Email | None = None
    consent_sms: bool = False
    internal_use: bool = False
    active: bool = True
    country_uid: Reference | None = None
    province_uid: Reference | None = None
    district_uid: Reference | None = None
    identifications: Identifications = Field(default_factory=list)


class PatientRow(Outgoing):
    """A patient."""

    uid: str
    patient_id: str = Field(examples=["P26AA-00001"])
    client_patient_id: str
    client_uid: str
    first_name: str
    middle_name: str | None
    last_name: str
    gender: Gender
    date_of_birth: date | None
    age_dob_estimated: bool
    age: int | None
    mobile_phone: str | None
    home_phone: str | None
    email: str | None
    consent_sms: bool
    internal_use: bool
    active: bool
    country_uid: str | None
    province_uid: str | None
    district_uid: str | None
    laboratory_uid: str
    identifications: list[IdentificationRow]
    created_at: datetime
    updated_at: datetime


class PatientSearchBody(Incoming):
    """What is looked for: a patient must fit all that is given."""

    words: Name | None = Field(None, description="Of names, whole or their beginnings; or a patient's number")
    date_of_birth: date | None = None
    phone: Phone | None = None
    email: Email | None = None
    identification: Name | None = None
    client_uid: Reference | None = None
    active: bool | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 50


@router.get("", responses=LISTED, summary="The laboratory's patients, newest first, page by page")
def list_patients(
    lab: Reading,
    page: Paged,
    patient_id: Annotated[Code | None, Query()] = None,
    client_uid: ByReference = None,
    active: Annotated[bool | None, Query()] = None,
) -> list[PatientRow]:
    query = patients.find_patients(lab.context, Search(patient_id or "", client_uid=client_uid, active=active))
    return [PatientRow.model_validate(row) for row in page.of(lab, query, newest_first=True)]


@router.post("", status_code=201, summary="Register a patient")
def create_patient(lab: Making, body: NewPatient) -> PatientRow:
    values = body.model_dump(exclude={"although_known"})
    made = patients.register_patient(lab.session, lab.context, values, although_known=body.although_known)
    return PatientRow.model_validate(made)


@router.post("/search", summary="Find patients by name, birth date, phone, email or identification")
def search_patients(lab: Reading, body: PatientSearchBody) -> list[PatientRow]:
    asked = body.model_dump(exclude={"limit"})
    query = patients.find_patients(lab.context, Search(**{**asked, "words": body.words or ""}))
    rows = lab.session.scalars(query.order_by(Patient.uid.desc()).limit(body.limit))
    return [PatientRow.model_validate(row) for row in rows]


@router.get("/{uid}", summary="One patient")
def read_patient(lab: Reading, uid: Uid) -> PatientRow:
    return PatientRow.model_validate(patients.get_patient(lab.session, uid))


@router.patch("/{uid}", summary="Change a patient")
def update_patient(lab: Changing, uid: Uid, body: PatientChange) -> PatientRow:
    changed = patients.change_patient(lab.session, lab.context, uid, body.model_dump(exclude_unset=True))
    return PatientRow.model_validate(changed)


@router.delete("/{uid}", status_code=204, summary="Remove a patient of whom nothing was asked for yet")
def delete_patient(lab: Removing, uid: Uid) -> None:
    patients.remove_patient(lab.session, uid)
