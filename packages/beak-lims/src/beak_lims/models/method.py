"""Methods of analysis and the instruments that they can be carried out on."""

from __future__ import annotations

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from beak_lims.models.base import CODE_LENGTH, NAME_LENGTH, Record, link
from beak_lims.models.instrument import Instrument

method_instrument = link("method_instrument", "method", "instrument")


class Method(Record):
    """A method of analysis."""

    __tablename__ = "method"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    keyword: Mapped[str] = mapped_column(String(CODE_LENGTH), unique=True)
    description: Mapped[str | None] = mapped_column(Text)

    instruments: Mapped[list[Instrument]] = relationship(secondary=method_instrument, order_by=Instrument.name)
