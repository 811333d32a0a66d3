"""What every table of a tenant has: a key that sorts by time, and who wrote the row when.

``created_by_uid`` and ``updated_by_uid`` are no foreign keys: a row may be written by a seed, by the operator's
command or by a platform user, none of whom is in the tenant's ``user``; and two constraints on each of some 170 tables
would weigh on the catalog of every tenant.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, MetaData, String, func
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
