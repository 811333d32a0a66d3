"""microbiology: organisms, antibiotics, breakpoints, control ranges, and resistance that is known without a test

Revision ID: a51d84e0c3f2
Revises: 9c3f61d2b870
Create Date: 2026-11-22
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "a51d84e0c3f2"
down_revision = "9c3f61d2b870"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _guidelines()
    _antibiotics()
    _organisms()
    _breakpoints()
    _resistance()
    _panels()
    _isolates()


def downgrade() -> None:
    for name in (
        "ast_result",
        "organism_result",
        "ast_panel_antibiotic",
        "ast_panel_organism",
        "ast_panel",
        "expert_interpret_rule",
        "expected_res_phenotype",
        "qc_range",
        "breakpoint",
        "serotype",
        "organism",
        "antibiotic_guideline",
        "antibiotic_disk",
        "antibiotic",
        "guideline_year",
        "guideline",
    ):
        op.drop_table(name)


def _guidelines() -> None:
    op.create_table(
        "guideline",
        *_record(
            sa.Column("code", sa.String(16), nullable=False),
            sa.Column("name", sa.String(255), nullable=False),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_guideline"),
        sa.UniqueConstraint("code", name="uq_guideline_code"),
    )
    op.create_table(
        "guideline_year",
        *_record(
            sa.Column("guideline_uid", sa.String(32), nullable=False),
            sa.Column("year", sa.Integer, nullable=False),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_guideline_year"),
        sa.UniqueConstraint("guideline_uid", "year", name="uq_guideline_year_guideline_uid_year"),
        _reference("guideline_year", "guideline_uid", "guideline"),
    )


def _antibiotics() -> None:
    op.create_table(
        "antibiotic",
        *_record(
            sa.Column("code", sa.String(16), nullable=False),
            sa.Column("name", sa.String(255), nullable=False),
            *_texts(atc_code=16, drug_class=64, drug_subclass=64, prof_class=32, aware=16),
            *_texts(loinc_mic=16, loinc_disk=16, loinc_etest=16),
            _flag("human"),
            _flag("veterinary"),
            sa.Column("digest", sa.String(32), nullable=False),
            sa.Column("source", sa.String(16), nullable=False),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_antibiotic"),
        sa.UniqueConstraint("code", name="uq_antibiotic_code"),
    )
    op.create_table(
        "antibiotic_disk",
        *_record(
            sa.Column("antibiotic_uid", sa.String(32), nullable=False),
            *_texts(potency=32),
            sa.Column("number", sa.Integer),
            *_texts(guidelines=255),
            sa.Column("digest", sa.String(32), nullable=False),
            sa.Column("source", sa.String(16), nullable=False),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_antibiotic_disk"),
        sa.UniqueConstraint("antibiotic_uid", "potency", name="uq_antibiotic_disk_antibiotic_uid_potency"),
        _reference("antibiotic_disk", "antibiotic_uid", "antibiotic", ondelete="CASCADE"),
    )
    op.create_table(
        "antibiotic_guideline",
        sa.Column("antibiotic_uid", sa.String(32), nullable=False),
        sa.Column("guideline_uid", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("antibiotic_uid", "guideline_uid", name="pk_antibiotic_guideline"),
        _reference("antibiotic_guideline", "antibiotic_uid", "antibiotic", ondelete="CASCADE"),
        _reference("antibiotic_guideline", "guideline_uid", "guideline", ondelete="CASCADE"),
    )
    op.create_index("ix_antibiotic_guideline_guideline_uid", "antibiotic_guideline", ["guideline_uid"])


def _organisms() -> None:
    op.create_table(
        "organism",
        *_catalog(
            sa.Column("code", sa.String(16), nullable=False),
            sa.Column("name", sa.String(255), nullable=False),
            sa.Column("taxonomic_status", sa.String(1), server_default="C", nullable=False),
            *_texts(replaced_by=16),
            _flag("common"),
            _flag("common_commensal"),
            *_texts(organism_type=1),
            _flag("anaerobe"),
            *_texts(morphology=32, subkingdom_code=1),
            *_texts(family_code=16, genus_group=16, genus_code=16, species_group=16, serovar_group=16, snomed_code=32),
            *_texts(kingdom=64, phylum=64, taxonomic_class=64, taxonomic_order=64, family=64, genus=64),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_organism"),
    )
    _one_that_counts("organism")
    _index("organism", "code")
    op.create_index("ix_organism_name", "organism", [sa.text("lower(name)")], postgresql_where=COUNTS)
    op.create_table(
        "serotype",
        *_catalog(
            sa.Column("organism_code", sa.String(16), nullable=False),
            sa.Column("name", sa.String(255), nullable=False),
            *_texts(serogroup=16, subspecies=16, o_antigens=64, h_phase_1=64, h_phase_2=64, fate=255),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_serotype"),
    )
    _one_that_counts("serotype")
    _index("serotype", "organism_code")


def _breakpoints() -> None:
    op.create_table(
        "breakpoint",
        *_catalog(
            sa.Column("guideline_year_uid", sa.String(32), nullable=False),
            sa.Column("test_method", sa.String(8), nullable=False),
            *_texts(potency=32),
            sa.Column("organism_code", sa.String(16), nullable=False),
            sa.Column("organism_code_type", sa.String(32), nullable=False),
            sa.Column("breakpoint_type", sa.String(16), nullable=False),
            *_texts(host=64, site_of_infection=255, reference_table=255, reference_sequence=16),
            sa.Column("antibiotic_code", sa.String(16), nullable=False),
            sa.Column("test_code", sa.String(16), nullable=False),
            sa.Column("susceptible", sa.Numeric),
            *_texts(intermediate=16, dose_dependent=16),
            sa.Column("resistant", sa.Numeric),
            sa.Column("ecoff", sa.Numeric),
            _flag("ecoff_tentative"),
            *_texts(comments=255),
            sa.Column("variant", sa.Integer, server_default="1", nullable=False),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_breakpoint"),
        _reference("breakpoint", "guideline_year_uid", "guideline_year"),
    )
    _one_that_counts("breakpoint")
    _index("breakpoint", "guideline_year_uid", "antibiotic_code")
    op.create_table(
        "qc_range",
        *_catalog(
            sa.Column("guideline_year_uid", sa.String(32), nullable=False),
            sa.Column("strain", sa.String(32), nullable=False),
            *_texts(reference_table=255),
            sa.Column("organism_code", sa.String(16), nullable=False),
            sa.Column("antibiotic_code", sa.String(16), nullable=False),
            sa.Column("test_code", sa.String(16), nullable=False),
            sa.Column("test_method", sa.String(8), nullable=False),
            *_texts(medium=32),
            sa.Column("minimum", sa.Numeric, nullable=False),
            sa.Column("maximum", sa.Numeric),
            sa.Column("variant", sa.Integer, server_default="1", nullable=False),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_qc_range"),
        _reference("qc_range", "guideline_year_uid", "guideline_year"),
    )
    _one_that_counts("qc_range")
    _index("qc_range", "guideline_year_uid", "strain")


def _resistance() -> None:
    op.create_table(
        "expected_res_phenotype",
        *_catalog(
            sa.Column("guideline_uid", sa.String(32), nullable=False),
            *_texts(reference_table=255),
            sa.Column("organism_code", sa.String(16), nullable=False),
            sa.Column("organism_code_type", sa.String(32), nullable=False),
            _codes("exception_organism_codes"),
            *_texts(exception_organism_code_type=32),
            sa.Column("antibiotic_code", sa.String(16), nullable=False),
            sa.Column("antibiotic_code_type", sa.String(32), nullable=False),
            _codes("antibiotic_exceptions"),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_expected_res_phenotype"),
        _reference("expected_res_phenotype", "guideline_uid", "guideline"),
    )
    _one_that_counts("expected_res_phenotype")
    _index("expected_res_phenotype", "guideline_uid")
    op.create_table(
        "expert_interpret_rule",
        *_catalog(
            sa.Column("code", sa.String(32), nullable=False),
            *_texts(description=255),
            sa.Column("organism_code", sa.String(16), nullable=False),
            sa.Column("organism_code_type", sa.String(32), nullable=False),
            sa.Column("criteria", sa.String(1024), nullable=False),
            _codes("affected"),
            _codes("exceptions"),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_expert_interpret_rule"),
    )
    _one_that_counts("expert_interpret_rule")


def _panels() -> None:
    op.create_table(
        "ast_panel",
        *_record(
            sa.Column("name", sa.String(255), nullable=False),
            sa.Column("description", sa.Text),
            sa.Column("guideline_year_uid", sa.String(32), nullable=False),
            sa.Column("test_method", sa.String(8), server_default="MIC", nullable=False),
            sa.Column("active", sa.Boolean, server_default=sa.true(), nullable=False),
            sa.Column("laboratory_uid", sa.String(32), nullable=False),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_ast_panel"),
        sa.UniqueConstraint("laboratory_uid", "name", name="uq_ast_panel_laboratory_uid_name"),
        _one_of("ast_panel", "test_method", METHODS),
        _reference("ast_panel", "guideline_year_uid", "guideline_year"),
        _reference("ast_panel", "laboratory_uid", "laboratory"),
    )
    op.create_index("ix_ast_panel_guideline_year_uid", "ast_panel", ["guideline_year_uid"])
    for right in ("organism", "antibiotic"):
        name = f"ast_panel_{right}"
        op.create_table(
            name,
            sa.Column("ast_panel_uid", sa.String(32), nullable=False),
            sa.Column(f"{right}_uid", sa.String(32), nullable=False),
            sa.PrimaryKeyConstraint("ast_panel_uid", f"{right}_uid", name=f"pk_{name}"),
            _reference(name, "ast_panel_uid", "ast_panel", ondelete="CASCADE"),
            _reference(name, f"{right}_uid", right, ondelete="CASCADE"),
        )
        op.create_index(f"ix_{name}_{right}_uid", name, [f"{right}_uid"])


def _isolates() -> None:
    op.create_table(
        "organism_result",
        *_record(
            sa.Column("sample_uid", sa.String(32), nullable=False),
            sa.Column("analysis_result_uid", sa.String(32), nullable=False),
            sa.Column("organism_uid", sa.String(32)),
            sa.Column("isolate_number", sa.Integer, nullable=False),
            sa.Column("other_tests", postgresql.JSONB, server_default=sa.text("'{}'::jsonb"), nullable=False),
            sa.Column("laboratory_uid", sa.String(32), nullable=False),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_organism_result"),
        sa.UniqueConstraint("sample_uid", "isolate_number", name="uq_organism_result_sample_uid_isolate_number"),
        sa.UniqueConstraint("analysis_result_uid", name="uq_organism_result_analysis_result_uid"),
        sa.CheckConstraint("isolate_number > 0", name=op.f("ck_organism_result_isolate_number")),
        _reference("organism_result", "sample_uid", "sample"),
        _reference("organism_result", "analysis_result_uid", "analysis_result"),
        _reference("organism_result", "organism_uid", "organism"),
        _reference("organism_result", "laboratory_uid", "laboratory"),
    )
    for column in ("organism_uid", "laboratory_uid"):
        op.create_index(f"ix_organism_result_{column}", "organism_result", [column])
    cited = ("breakpoint", "expected_res_phenotype", "expert_interpret_rule")
    op.create_table(
        "ast_result",
        *_record(
            *(sa.Column(f"{name}_uid", sa.String(32), nullable=False) for name in OF_AST_RESULT),
            sa.Column("test_method", sa.String(8), nullable=False),
            *_texts(disk=16, site_of_infection=255),
            sa.Column("value", sa.Text),
            sa.Column("category", sa.String(4)),
            _flag("uncertain"),
            sa.Column("basis", sa.String(32)),
            sa.Column("reason", sa.Text),
            *(sa.Column(f"{name}_uid", sa.String(32)) for name in cited),
            sa.Column("judgement", postgresql.JSONB),
            sa.Column("laboratory_uid", sa.String(32), nullable=False),
        ),
        sa.PrimaryKeyConstraint("uid", name="pk_ast_result"),
        sa.UniqueConstraint(
            "organism_result_uid",
            "antibiotic_uid",
            "test_method",
            "disk",
            name="uq_ast_result_test",
        ),
        sa.UniqueConstraint("analysis_result_uid", name="uq_ast_result_analysis_result_uid"),
        _one_of("ast_result", "test_method", METHODS),
        _one_of("ast_result", "category", ("S", "SDD", "I", "NS", "R", "WT", "NWT")),
        _one_of("ast_result", "basis", ("breakpoint", "expected resistance", "expert rule")),
        *(_reference("ast_result", f"{name}_uid", name) for name in (*OF_AST_RESULT, *cited, "laboratory")),
    )
    for name in ("antibiotic", "guideline_year", *cited, "laboratory"):
        op.create_index(f"ix_ast_result_{name}_uid", "ast_result", [f"{name}_uid"])


OF_AST_RESULT = ("organism_result", "analysis_result", "antibiotic", "guideline_year")
METHODS = ("MIC", "DISK")


def _one_of(table: str, column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=op.f(f"ck_{table}_{column}"))


COUNTS = sa.text("retired_at IS NULL")


def _texts(**lengths: int) -> tuple[sa.Column[Any], ...]:
    """Columns of text that is empty where nothing is known."""
    return tuple(
        sa.Column(name, sa.String(length), server_default="", nullable=False) for name, length in lengths.items()
    )


def _flag(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean, server_default=sa.false(), nullable=False)


def _codes(name: str) -> sa.Column[Any]:
    return sa.Column(name, postgresql.JSONB, server_default=sa.text("'[]'::jsonb"), nullable=False)


def _catalog(*own: sa.Column[Any]) -> tuple[sa.Column[Any], ...]:
    """The columns of a published table's row, around its own."""
    return _record(
        *own,
        sa.Column("natural_key", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(32), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True)),
    )


def _one_that_counts(table: str) -> None:
    op.create_index(f"uq_{table}_natural_key", table, ["natural_key"], unique=True, postgresql_where=COUNTS)


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns), postgresql_where=COUNTS)


def _record(*own: sa.Column[Any]) -> tuple[sa.Column[Any], ...]:
    """The columns every table has, around its own."""
    return (
        sa.Column("uid", sa.String(32), nullable=False),
        *own,
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("created_by_uid", sa.String(32)),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_by_uid", sa.String(32)),
    )


def _reference(table: str, column: str, target: str, *, ondelete: str | None = None) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.uid"], name=f"fk_{table}_{column}", ondelete=ondelete)
