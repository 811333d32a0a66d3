"""The patients of one laboratory. What tells who they are is encrypted; it is found by keyed hashes in a table beside.

Nothing here holds a name, a birth date, a contact or an identification in clear.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, UniqueConstraint, false, text, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from beak_lims.models.base import CODE_LENGTH, NAME_LENGTH, Base, LabRecord, Record, one_of
from beak_lims.models.encrypted import EncryptedDate, EncryptedText
from beak_lims.models.place import Placed


class Gender(StrEnum):
    """What ranges may ask for; ``unknown`` fits no range that asks."""

    MALE = "male"
    FEMALE = "female"
    OTHER = "other"
    UNKNOWN = "unknown"


class SearchKind(StrEnum):
    """What a search hash was made of."""

    NAME = "name"  # a word of a name
    NAME_START = "name_start"  # its first letters
    BIRTH_DATE = "birth_date"
    PHONE = "phone"
    EMAIL = "email"
    IDENTIFICATION = "identification"


class Identification(Record):
    """A kind of identification, such as a passport number."""

    __tablename__ = "identification"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)


class Patient(Placed, LabRecord):
    """A person of whom samples are taken.

    ``patient_id`` is given by the laboratory (``P26AA-00001``), ``client_patient_id`` by the client.
    """

    __tablename__ = "patient"
    __table_args__ = (
        UniqueConstraint("patient_id"),
        UniqueConstraint("laboratory_uid", "client_uid", "client_patient_id"),
        one_of("gender", Gender),
    )

    patient_id: Mapped[str] = mapped_column(String(CODE_LENGTH))
    client_patient_id: Mapped[str] = mapped_column(String(NAME_LENGTH))
    client_uid: Mapped[str] = mapped_column(ForeignKey("client.uid"), index=True)
    first_name: Mapped[str] = mapped_column(EncryptedText)
    middle_name: Mapped[str | None] = mapped_column(EncryptedText)
    last_name: Mapped[str] = mapped_column(EncryptedText)
    gender: Mapped[str] = mapped_column(String(16), server_default=Gender.UNKNOWN)
    age: Mapped[int | None] = mapped_column(Integer)  # years, as told when no birth date is known
    date_of_birth: Mapped[date | None] = mapped_column(EncryptedDate)
    age_dob_estimated: Mapped[bool] = mapped_column(Boolean, server_default=false())
    mobile_phone: Mapped[str | None] = mapped_column(EncryptedText)
    home_phone: Mapped[str | None] = mapped_column(EncryptedText)
    email: Mapped[str | None] = mapped_column(EncryptedText)
    consent_sms: Mapped[bool] = mapped_column(Boolean, server_default=false())
    internal_use: Mapped[bool] = mapped_column(Boolean, server_default=false())
    active: Mapped[bool] = mapped_column(Boolean, server_default=true())
    metadata_snapshot: Mapped[dict[str, Any]] = mapped_column(
        JSONB, default=dict, server_default=text("'{}'::jsonb"), info={"audited": False}
    )

    identifications: Mapped[list[PatientIdentification]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, order_by="PatientIdentification.uid"
    )


class PatientIdentification(LabRecord):
    """One identification of a patient."""

    __tablename__ = "patient_identification"
    __table_args__ = (UniqueConstraint("patient_uid", "identification_uid"),)

    patient_uid: Mapped[str] = mapped_column(ForeignKey("patient.uid", ondelete="CASCADE"))
    identification_uid: Mapped[str] = mapped_column(ForeignKey("identification.uid"), index=True)
    value: Mapped[str] = mapped_column(EncryptedText)


class PatientSearch(Base):
    """A keyed hash under which a patient is found.

    The hash covers the laboratory's key too: equal names in two laboratories do not have equal hashes.
    """

    __tablename__ = "patient_search"
    __table_args__ = (one_of("kind", SearchKind), Index(None, "digest", "kind"))

    patient_uid: Mapped[str] = mapped_column(ForeignKey("patient.uid", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
