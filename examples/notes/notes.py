"""Notes: a whole multi-tenant application in one file.

Every customer has a SQLite file of their own below NOTES_DATA (default: ./data), or a schema of their own if
NOTES_DATABASE_URL names a PostgreSQL. Run `tenantry` in this directory to provision and look after tenants, and
`python notes.py --help` to write and read notes.
"""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import DateTime, ForeignKey, MetaData, String, false, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from tenantry import Migrations, PostgresSchemas, Seeding, SqliteFiles, Tenancy


class Base(DeclarativeBase):
    """Tables carry no schema and no tenant column: which tenant's they are is decided by the session."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Notebook(Base):
    """A named pile of notes."""

    __tablename__ = "notebook"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(100), unique=True)
    notes: Mapped[list[Note]] = relationship(back_populates="notebook", order_by="Note.id")


class Note(Base):
    """One thing worth remembering."""

    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    notebook_id: Mapped[int] = mapped_column(ForeignKey("notebook.id", ondelete="CASCADE"), index=True)
    body: Mapped[str]
    pinned: Mapped[bool] = mapped_column(default=False, server_default=false())
    written_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    notebook: Mapped[Notebook] = relationship(back_populates="notes")


def first_notebook(seeding: Seeding) -> None:
    """Every customer begins with one notebook. Seeds may run again, so this one looks first."""
    if seeding.session.scalar(select(Notebook.id).limit(1)) is None:
        seeding.session.add(Notebook(title="Inbox"))


def store() -> PostgresSchemas | SqliteFiles:
    """Where the customers' data lies."""
    url = os.environ.get("NOTES_DATABASE_URL")
    if url:
        return PostgresSchemas(url, name="notes_{slug}")
    return SqliteFiles(Path(os.environ.get("NOTES_DATA", "data")), name="{slug}/notes.db")


tenancy = Tenancy(
    store=store(),
    migrations=Migrations(Path(__file__).parent / "migrations", metadata=Base.metadata),
    readiness=("notebook", "note"),
    seeds=[first_notebook],
)


def write(session: Session, title: str, body: str) -> None:
    """Add a note, and its notebook if that is new."""
    notebook = session.scalar(select(Notebook).where(Notebook.title == title)) or Notebook(title=title)
    notebook.notes.append(Note(body=body, written_at=datetime.now(UTC)))
    session.add(notebook)


def main() -> None:
    """Write a note for a customer, or read all of theirs."""
    parser = argparse.ArgumentParser(description="Write and read one customer's notes.")
    parser.add_argument("customer")
    parser.add_argument("body", nargs="?", help="the note to write; without it all notes are read")
    parser.add_argument("--notebook", default="Inbox")
    given = parser.parse_args()
    with tenancy.session(given.customer) as session:
        if given.body:
            write(session, given.notebook, given.body)
        for note in session.scalars(select(Note).order_by(Note.id)):
            print(f"{note.notebook.title}: {note.body}")


if __name__ == "__main__":
    main()
