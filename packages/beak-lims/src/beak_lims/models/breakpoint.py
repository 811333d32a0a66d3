"""Breakpoints, and the ranges within which control strains must read.

The values are as WHONET keeps them: ``resistant`` is inclusive for every guideline, so EUCAST's "R > 0.5 mg/L" is 1,
the next dilution. MIC are in mg/L, zones in mm.
"""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import Boolean, ForeignKey, Index, Integer, Numeric, String, false, text
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import NAME_LENGTH
from beak_lims.models.catalog import SHORT_CODE, CatalogRow, one_that_counts


class Breakpoint(CatalogRow):
    """What makes an isolate of some organisms susceptible or resistant to one agent, by one method.

    Without any value it says that there is none for these organisms, whatever is told for wider groups.
    """

    __tablename__ = "breakpoint"
    __table_args__ = (
        one_that_counts("breakpoint"),
        Index(
            "ix_breakpoint_guideline_year_uid_antibiotic_code",
            "guideline_year_uid",
            "antibiotic_code",
            postgresql_where=text("retired_at IS NULL"),
        ),
    )

    guideline_year_uid: Mapped[str] = mapped_column(ForeignKey("guideline_year.uid"))
    test_method: Mapped[str] = mapped_column(String(8))  # MIC or DISK
    potency: Mapped[str] = mapped_column(String(32), server_default="")
    organism_code: Mapped[str] = mapped_column(String(SHORT_CODE))
    organism_code_type: Mapped[str] = mapped_column(String(32))
    breakpoint_type: Mapped[str] = mapped_column(String(16))  # Human, Animal or ECOFF
    host: Mapped[str] = mapped_column(String(64), server_default="")
    site_of_infection: Mapped[str] = mapped_column(String(NAME_LENGTH), server_default="")
    reference_table: Mapped[str] = mapped_column(String(NAME_LENGTH), server_default="")
    reference_sequence: Mapped[str] = mapped_column(String(16), server_default="")
    antibiotic_code: Mapped[str] = mapped_column(String(SHORT_CODE))
    test_code: Mapped[str] = mapped_column(String(16))  # agent, guideline and disk in one: PEN_ND10
    susceptible: Mapped[Decimal | None] = mapped_column(Numeric)
    intermediate: Mapped[str] = mapped_column(String(16), server_default="")
    dose_dependent: Mapped[str] = mapped_column(String(16), server_default="")
    resistant: Mapped[Decimal | None] = mapped_column(Numeric)
    ecoff: Mapped[Decimal | None] = mapped_column(Numeric)
    ecoff_tentative: Mapped[bool] = mapped_column(Boolean, server_default=false())
    comments: Mapped[str] = mapped_column(String(NAME_LENGTH), server_default="")
    # Rows that tell the same thing twice are numbered as the table holds them; a published table has some 250.
    variant: Mapped[int] = mapped_column(Integer, server_default="1")


class QcRange(CatalogRow):
    """The range within which a control strain must read, for one agent, method and medium."""

    __tablename__ = "qc_range"
    __table_args__ = (
        one_that_counts("qc_range"),
        Index(
            "ix_qc_range_guideline_year_uid_strain",
            "guideline_year_uid",
            "strain",
            postgresql_where=text("retired_at IS NULL"),
        ),
    )

    guideline_year_uid: Mapped[str] = mapped_column(ForeignKey("guideline_year.uid"))
    strain: Mapped[str] = mapped_column(String(32))  # atcc25922
    reference_table: Mapped[str] = mapped_column(String(NAME_LENGTH), server_default="")
    organism_code: Mapped[str] = mapped_column(String(SHORT_CODE))
    antibiotic_code: Mapped[str] = mapped_column(String(SHORT_CODE))
    test_code: Mapped[str] = mapped_column(String(16))
    test_method: Mapped[str] = mapped_column(String(8))
    medium: Mapped[str] = mapped_column(String(32), server_default="")
    minimum: Mapped[Decimal] = mapped_column(Numeric)
    maximum: Mapped[Decimal | None] = mapped_column(Numeric)  # null: nothing is too much
    variant: Mapped[int] = mapped_column(Integer, server_default="1")
