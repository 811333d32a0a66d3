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


def downgrade() -> None:
    for name in (
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
