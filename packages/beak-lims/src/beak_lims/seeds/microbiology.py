"""Microbiology's reference tables: WHONET's from a directory, or the starter set that the project brings along."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from beak_lims.microbiology.catalog import STARTER, load
from beak_lims.microbiology.whonet.rows import SOURCE, Catalog, read
from beak_lims.seeds.running import Seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.orm import Session

    from beak_lims.microbiology.catalog import Loaded

STARTER_SET = Path(__file__).parent / "starter"


def tables(directory: Path | None) -> Catalog:
    """Read the tables of a directory, or the starter set.

    :raises TableRejected: the directory or a file of it cannot be used at all.
    """
    return read(STARTER_SET, origin=STARTER) if directory is None else read(directory, origin=SOURCE)


def seed(
    session: Session, catalog: Catalog, *, progress: Callable[[Loaded], None] = lambda _: None
) -> Sequence[Seeded]:
    """Bring the tables into a tenant."""
    return [
        Seeded(done.table, done.added, done.changed, done.retired, done.unchanged, done.rejected, done.file)
        for done in load(session, catalog, progress=progress)
    ]
