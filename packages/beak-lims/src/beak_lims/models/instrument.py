"""Instruments: their types, the models the organisation works with, and the devices that stand in a laboratory."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Boolean, Date, ForeignKey, String, Text, UniqueConstraint, true
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import CODE_LENGTH, NAME_LENGTH, LabRecord, Record


class InstrumentType(Record):
    """A kind of instrument, such as a haematology analyser."""

    __tablename__ = "instrument_type"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    description: Mapped[str | None] = mapped_column(Text)


class Instrument(Record):
    """A model of an instrument."""

    __tablename__ = "instrument"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    keyword: Mapped[str] = mapped_column(String(CODE_LENGTH), unique=True)
    description: Mapped[str | None] = mapped_column(Text)
    instrument_type_uid: Mapped[str | None] = mapped_column(ForeignKey("instrument_type.uid"), index=True)
    supplier_uid: Mapped[str | None] = mapped_column(ForeignKey("supplier.uid"), index=True)
    manufacturer_uid: Mapped[str | None] = mapped_column(ForeignKey("manufacturer.uid"), index=True)


class LaboratoryInstrument(LabRecord):
    """A device of one laboratory, under the name it has there."""

    __tablename__ = "laboratory_instrument"
    __table_args__ = (UniqueConstraint("laboratory_uid", "lab_name"),)

    instrument_uid: Mapped[str] = mapped_column(ForeignKey("instrument.uid"), index=True)
    lab_name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    serial_number: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    date_commissioned: Mapped[date | None] = mapped_column(Date)
    active: Mapped[bool] = mapped_column(Boolean, server_default=true())
