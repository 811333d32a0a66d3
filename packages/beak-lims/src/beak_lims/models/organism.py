"""Organisms with the groups that breakpoints and rules are told for, and the serotypes of some."""

from __future__ import annotations

from sqlalchemy import Boolean, Index, String, false, text
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import NAME_LENGTH
from beak_lims.models.catalog import SHORT_CODE, CatalogRow, one_that_counts

CURRENT = "C"  # taxonomic status of the name in use; older names of a code have another


class Organism(CatalogRow):
    """A name of an organism. One name of a code is current; isolates are reported by it."""

    __tablename__ = "organism"
    __table_args__ = (
        one_that_counts("organism"),
        Index("ix_organism_code", "code", postgresql_where=text("retired_at IS NULL")),
        Index("ix_organism_name", text("lower(name)"), postgresql_where=text("retired_at IS NULL")),
    )

    code: Mapped[str] = mapped_column(String(SHORT_CODE))
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    taxonomic_status: Mapped[str] = mapped_column(String(1), server_default=CURRENT)
    replaced_by: Mapped[str] = mapped_column(String(SHORT_CODE), server_default="")
    common: Mapped[bool] = mapped_column(Boolean, server_default=false())
    common_commensal: Mapped[bool] = mapped_column(Boolean, server_default=false())
    organism_type: Mapped[str] = mapped_column(String(1), server_default="")  # + - a f m w b v o i
    anaerobe: Mapped[bool] = mapped_column(Boolean, server_default=false())
    morphology: Mapped[str] = mapped_column(String(32), server_default="")
    subkingdom_code: Mapped[str] = mapped_column(String(1), server_default="")  # Gram: + or -
    family_code: Mapped[str] = mapped_column(String(SHORT_CODE), server_default="")
    genus_group: Mapped[str] = mapped_column(String(SHORT_CODE), server_default="")
    genus_code: Mapped[str] = mapped_column(String(SHORT_CODE), server_default="")
    species_group: Mapped[str] = mapped_column(String(SHORT_CODE), server_default="")
    serovar_group: Mapped[str] = mapped_column(String(SHORT_CODE), server_default="")
    snomed_code: Mapped[str] = mapped_column(String(32), server_default="")
    kingdom: Mapped[str] = mapped_column(String(64), server_default="")
    phylum: Mapped[str] = mapped_column(String(64), server_default="")
    taxonomic_class: Mapped[str] = mapped_column(String(64), server_default="")
    taxonomic_order: Mapped[str] = mapped_column(String(64), server_default="")
    family: Mapped[str] = mapped_column(String(64), server_default="")
    genus: Mapped[str] = mapped_column(String(64), server_default="")


class Serotype(CatalogRow):
    """A serotype of an organism, by its antigens."""

    __tablename__ = "serotype"
    __table_args__ = (
        one_that_counts("serotype"),
        Index("ix_serotype_organism_code", "organism_code", postgresql_where=text("retired_at IS NULL")),
    )

    organism_code: Mapped[str] = mapped_column(String(SHORT_CODE))
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    serogroup: Mapped[str] = mapped_column(String(16), server_default="")
    subspecies: Mapped[str] = mapped_column(String(16), server_default="")
    o_antigens: Mapped[str] = mapped_column(String(64), server_default="")
    h_phase_1: Mapped[str] = mapped_column(String(64), server_default="")
    h_phase_2: Mapped[str] = mapped_column(String(64), server_default="")
    fate: Mapped[str] = mapped_column(String(NAME_LENGTH), server_default="")
