"""Isolates and their susceptibility tests, and the panels of antibiotics that a laboratory tests together.

An isolate hangs on the result that asked for it, and each of its tests on a result of its own, so that they are
entered, verified and reported as any other. What was measured is encrypted; what it means, and by which rows of the
reference tables, is in clear: those rows are never altered once they stand here.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    ForeignKey,
    Integer,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from beak_lims.microbiology.breakpoints import Category
from beak_lims.microbiology.codes import BreakpointType, Method
from beak_lims.microbiology.isolate import Basis
from beak_lims.models.antibiotic import Antibiotic
from beak_lims.models.base import NAME_LENGTH, LabRecord, link, one_of
from beak_lims.models.encrypted import EncryptedText
from beak_lims.models.organism import Organism

ast_panel_organism = link("ast_panel_organism", "ast_panel", "organism")
ast_panel_antibiotic = link("ast_panel_antibiotic", "ast_panel", "antibiotic")


class AstPanel(LabRecord):
    """The antibiotics that are tested together, by one method and edition of a guideline; of which organisms.

    ``breakpoint_type``: what its values are read by. ``host``: whose breakpoints, where that is Animal.
    """

    __tablename__ = "ast_panel"
    __table_args__ = (
        UniqueConstraint("laboratory_uid", "name"),
        one_of("test_method", Method),
        one_of("breakpoint_type", BreakpointType),
    )

    laboratory_uid: Mapped[str] = mapped_column(ForeignKey("laboratory.uid"), sort_order=99)  # first of the unique key
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    description: Mapped[str | None] = mapped_column(Text)
    guideline_year_uid: Mapped[str] = mapped_column(ForeignKey("guideline_year.uid"), index=True)
    test_method: Mapped[str] = mapped_column(String(8), server_default=Method.MIC)
    breakpoint_type: Mapped[str] = mapped_column(String(16), server_default=BreakpointType.HUMAN)
    host: Mapped[str] = mapped_column(String(64), server_default="Human")
    active: Mapped[bool] = mapped_column(Boolean, server_default=true())

    organisms: Mapped[list[Organism]] = relationship(secondary=ast_panel_organism, order_by=Organism.name)
    antibiotics: Mapped[list[Antibiotic]] = relationship(secondary=ast_panel_antibiotic, order_by=Antibiotic.name)


class OrganismResult(LabRecord):
    """An isolate of a sample. Without an organism it is not identified yet.

    ``other_tests``: what else was found of it, as expert rules name it, such as ``MECA_PCR``: ``+``.
    """

    __tablename__ = "organism_result"
    __table_args__ = (
        UniqueConstraint("sample_uid", "isolate_number"),
        CheckConstraint("isolate_number > 0", name="isolate_number"),
    )

    sample_uid: Mapped[str] = mapped_column(ForeignKey("sample.uid"))
    analysis_result_uid: Mapped[str] = mapped_column(ForeignKey("analysis_result.uid"), unique=True)
    organism_uid: Mapped[str | None] = mapped_column(ForeignKey("organism.uid"), index=True)
    isolate_number: Mapped[int] = mapped_column(Integer)
    other_tests: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict, server_default=text("'{}'::jsonb"))


class AstResult(LabRecord):
    """One antibiotic tested against one isolate: what was read, what it means and why.

    ``uncertain``: the value is off the scale, and what is beyond could mean otherwise.
    """

    __tablename__ = "ast_result"
    __table_args__ = (
        UniqueConstraint("organism_result_uid", "antibiotic_uid", "test_method", "disk", name="uq_ast_result_test"),
        one_of("test_method", Method),
        one_of("breakpoint_type", BreakpointType),
        one_of("category", Category),
        one_of("basis", Basis),
    )

    organism_result_uid: Mapped[str] = mapped_column(ForeignKey("organism_result.uid"))
    analysis_result_uid: Mapped[str] = mapped_column(ForeignKey("analysis_result.uid"), unique=True)
    antibiotic_uid: Mapped[str] = mapped_column(ForeignKey("antibiotic.uid"), index=True)
    guideline_year_uid: Mapped[str] = mapped_column(ForeignKey("guideline_year.uid"), index=True)
    test_method: Mapped[str] = mapped_column(String(8))
    disk: Mapped[str] = mapped_column(String(16), server_default="")  # as test codes write it: 10 of AMP_ND10
    site_of_infection: Mapped[str] = mapped_column(String(NAME_LENGTH), server_default="")
    breakpoint_type: Mapped[str] = mapped_column(String(16), server_default=BreakpointType.HUMAN)  # its panel's
    host: Mapped[str] = mapped_column(String(64), server_default="Human")
    value: Mapped[str | None] = mapped_column(EncryptedText)  # as typed: 0.5, <=0.25, 17
    category: Mapped[str | None] = mapped_column(String(4))
    uncertain: Mapped[bool] = mapped_column(Boolean, server_default=false())
    basis: Mapped[str | None] = mapped_column(String(32))
    reason: Mapped[str | None] = mapped_column(Text)
    breakpoint_uid: Mapped[str | None] = mapped_column(ForeignKey("breakpoint.uid"), index=True)
    expected_res_phenotype_uid: Mapped[str | None] = mapped_column(ForeignKey("expected_res_phenotype.uid"), index=True)
    expert_interpret_rule_uid: Mapped[str | None] = mapped_column(ForeignKey("expert_interpret_rule.uid"), index=True)
    judgement: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))  # the breakpoint, as it was
