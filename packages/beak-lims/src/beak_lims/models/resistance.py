"""Resistance that is known without a measurement: by species, or inferred from another result of the isolate."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import NAME_LENGTH
from beak_lims.models.catalog import SHORT_CODE, CatalogRow, one_that_counts

_NONE = text("'[]'::jsonb")


class ExpectedResPhenotype(CatalogRow):
    """Organisms that are resistant to an agent, or to a class of agents by the beginning of its ATC code."""

    __tablename__ = "expected_res_phenotype"
    __table_args__ = (
        one_that_counts("expected_res_phenotype"),
        Index("ix_expected_res_phenotype_guideline_uid", "guideline_uid", postgresql_where=text("retired_at IS NULL")),
    )

    guideline_uid: Mapped[str] = mapped_column(ForeignKey("guideline.uid"))
    reference_table: Mapped[str] = mapped_column(String(NAME_LENGTH), server_default="")
    organism_code: Mapped[str] = mapped_column(String(SHORT_CODE))
    organism_code_type: Mapped[str] = mapped_column(String(32))
    exception_organism_codes: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default=_NONE)
    exception_organism_code_type: Mapped[str] = mapped_column(String(32), server_default="")
    antibiotic_code: Mapped[str] = mapped_column(String(SHORT_CODE))
    antibiotic_code_type: Mapped[str] = mapped_column(String(32))
    antibiotic_exceptions: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default=_NONE)


class ExpertInterpretRule(CatalogRow):
    """When ``criteria`` hold for an isolate, the agents or classes in ``affected`` are reported resistant."""

    __tablename__ = "expert_interpret_rule"
    __table_args__ = (one_that_counts("expert_interpret_rule"),)

    code: Mapped[str] = mapped_column(String(32))
    description: Mapped[str] = mapped_column(String(NAME_LENGTH), server_default="")
    organism_code: Mapped[str] = mapped_column(String(SHORT_CODE))
    organism_code_type: Mapped[str] = mapped_column(String(32))
    criteria: Mapped[str] = mapped_column(String(1024))
    affected: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default=_NONE)
    exceptions: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default=_NONE)
