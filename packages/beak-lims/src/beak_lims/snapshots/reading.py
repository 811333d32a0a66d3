"""Read the versions of a row's copies. Whether the row may be seen is the caller's to find out first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, select

from beak_lims.models import Snapshot, SnapshotContent

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def versions_of(session: Session, subject_uid: str) -> Sequence[Row[Any]]:
    """The versions of one row, oldest first, each with what it says."""
    return session.execute(
        select(
            Snapshot.version,
            Snapshot.occasion,
            Snapshot.reason,
            Snapshot.taken_at,
            Snapshot.taken_by,
            Snapshot.run_uid,
            Snapshot.content_hash,
            SnapshotContent.content,
        )
        .join(SnapshotContent, SnapshotContent.hash == Snapshot.content_hash)
        .where(Snapshot.subject_uid == subject_uid)
        .order_by(Snapshot.version)
    ).all()
