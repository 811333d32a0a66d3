"""The counters behind the numbers that people read: of patients, requests, samples, worksheets."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import Record


class IdSequence(Record):
    """The last number given under one prefix, such as ``S26``; all laboratories of the organisation share it."""

    __tablename__ = "id_sequence"
    __table_args__ = (CheckConstraint("number >= 0", name="number"),)

    prefix: Mapped[str] = mapped_column(String(32), unique=True)
    number: Mapped[int] = mapped_column(Integer, server_default="0")
