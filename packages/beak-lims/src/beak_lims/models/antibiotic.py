"""Antimicrobial agents, and the disks they are tested with."""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, Integer, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import NAME_LENGTH, Record, link
from beak_lims.models.catalog import DIGEST_LENGTH, SHORT_CODE, SOURCE_LENGTH

antibiotic_guideline = link("antibiotic_guideline", "antibiotic", "guideline")  # which tell anything about an agent


class Antibiotic(Record):
    """An agent; ``code`` is its WHONET code of three letters, by which breakpoints and rules name it."""

    __tablename__ = "antibiotic"

    code: Mapped[str] = mapped_column(String(SHORT_CODE), unique=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    atc_code: Mapped[str] = mapped_column(String(SHORT_CODE), server_default="")
    drug_class: Mapped[str] = mapped_column(String(64), server_default="")
    drug_subclass: Mapped[str] = mapped_column(String(64), server_default="")
    prof_class: Mapped[str] = mapped_column(String(32), server_default="")
    aware: Mapped[str] = mapped_column(String(16), server_default="")  # WHO: Access, Watch, Reserve
    loinc_mic: Mapped[str] = mapped_column(String(16), server_default="")
    loinc_disk: Mapped[str] = mapped_column(String(16), server_default="")
    loinc_etest: Mapped[str] = mapped_column(String(16), server_default="")
    human: Mapped[bool] = mapped_column(Boolean, server_default=false())
    veterinary: Mapped[bool] = mapped_column(Boolean, server_default=false())
    digest: Mapped[str] = mapped_column(String(DIGEST_LENGTH))
    source: Mapped[str] = mapped_column(String(SOURCE_LENGTH))


class AntibioticDisk(Record):
    """A form in which an agent is tested: a disk of one potency, or the agent without one (an empty potency).

    ``guidelines``: the codes of those that use it, with commas.
    """

    __tablename__ = "antibiotic_disk"
    __table_args__ = (UniqueConstraint("antibiotic_uid", "potency"),)

    antibiotic_uid: Mapped[str] = mapped_column(ForeignKey("antibiotic.uid", ondelete="CASCADE"))
    potency: Mapped[str] = mapped_column(String(32), server_default="")  # as published: 10µg, 10 units, 20/10µg
    number: Mapped[int | None] = mapped_column(Integer)
    guidelines: Mapped[str] = mapped_column(String(NAME_LENGTH), server_default="")
    digest: Mapped[str] = mapped_column(String(DIGEST_LENGTH))
    source: Mapped[str] = mapped_column(String(SOURCE_LENGTH))
