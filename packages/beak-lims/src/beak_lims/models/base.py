"""What every table of a tenant has: a key that sorts by time, and who wrote the row when.

A row of a :class:`LabRecord` belongs to one laboratory; every other row is shared by the whole organisation.

``created_by_uid`` and ``updated_by_uid`` are no foreign keys: a row may be written by a seed, by the operator's
command or by a platform user, none of whom is in the tenant's ``user``; and two constraints on each of some 170 tables
would weigh on the catalog of every tenant.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, MetaData, Numeric, String, Table, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tenantry.registry.uids import new_uid

# Names of constraints are fixed: autogenerate and later revisions find them by name, on every PostgreSQL release.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
UID_LENGTH = 32  # characters of new_uid: hexadecimal digits that sort by the time they were made
NAME_LENGTH = 255
EMAIL_LENGTH = 254  # longest address that mail carries
CODE_LENGTH = 64
Figure = Numeric(20, 8)  # a measured value or a limit of one: exact, up to 12 digits before the point and 8 after it


class Base(DeclarativeBase):
    """Holds the tenant's metadata."""

    metadata = MetaData(naming_convention=NAMING)


class Record(Base):
    """A row with the base columns."""

    __abstract__ = True

    uid: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True, default=new_uid, sort_order=-1)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now(), sort_order=100)
    created_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH), sort_order=101)
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now(), sort_order=102
    )
    updated_by_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH), sort_order=103)


class LabRecord(Record):
    """A row of one laboratory.

    Inside a :class:`beak_lims.context.LabContext` it is read and written for the laboratory at work alone.
    """

    __abstract__ = True

    laboratory_uid: Mapped[str] = mapped_column(ForeignKey("laboratory.uid"), index=True, sort_order=99)


def link(name: str, left: str, right: str) -> Table:
    """A table of pairs of two tables' rows. The primary key finds the right side, the index the left one."""
    return Table(
        name,
        Base.metadata,
        Column(f"{left}_uid", ForeignKey(f"{left}.uid", ondelete="CASCADE"), primary_key=True),
        Column(f"{right}_uid", ForeignKey(f"{right}.uid", ondelete="CASCADE"), primary_key=True, index=True),
    )


def one_of(column: str, values: type[StrEnum] | Iterable[str]) -> CheckConstraint:
    """The column holds one of these values, or null where it may. Named ``ck_<table>_<column>``."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)
