"""What a client and a patient are given as, by a request of their own or as a row of a file."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field

from beak_lims.api.crud import Noun
from beak_lims.api.fields import Email, Incoming, Name, Phone, Reference
from beak_lims.models import Client
from beak_lims.models.patient import Gender

CLIENTS = Noun(Client, "/clients", "CLIENT", search=("name", "code"))
Years = Annotated[int, Field(ge=0, le=150)]
MAX_IDENTIFICATIONS = 20


class IdentificationBody(Incoming):
    """One identification."""

    identification_uid: Reference = Field(description="Its kind")
    value: Name


Identifications = Annotated[list[IdentificationBody], Field(max_length=MAX_IDENTIFICATIONS)]


class NewPatient(Incoming):
    """A patient to register."""

    first_name: Name
    middle_name: Name | None = None
    last_name: Name
    gender: Gender = Gender.UNKNOWN
    date_of_birth: date | None = None
    age_dob_estimated: bool = Field(False, description="Whether the birth date was worked out from an age")
    age: Years | None = Field(None, description="Years, where no birth date is known")
    client_uid: Reference
    client_patient_id: Name | None = Field(None, description="The client's number; without one, the laboratory's")
    mobile_phone: Phone | None = None
    home_phone: Phone | None = None
    email: Email | None = None
    consent_sms: bool = False
    internal_use: bool = False
    country_uid: Reference | None = None
    province_uid: Reference | None = None
    district_uid: Reference | None = None
    identifications: Identifications = Field(default_factory=list)
    although_known: bool = Field(False, description="Register although one of this name is there")
