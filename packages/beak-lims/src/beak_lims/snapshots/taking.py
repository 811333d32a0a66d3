"""Take the copies that new rows begin with: one statement per kind, whatever the number of rows.

A copy that was taken before is found by its hash and not kept again. The rows themselves are the caller's to write.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, text
from sqlalchemy.dialects.postgresql import JSONB

from beak_lims.models.snapshot import Occasion, Snapshot, Subject
from beak_lims.seeds.setup import AST_ORGANISM
from beak_lims.snapshots.documents import ANALYSES, HASH, PATIENTS, REQUESTS, SAMPLES, WITH_USE

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext


@dataclass(frozen=True)
class Copy:
    """A copy that is kept: its hash, what it says, and for a request the encrypted identity of its patient."""

    hash: str
    content: dict[str, Any]
    identity: dict[str, Any] | None = None

    @property
    def is_of_isolate(self) -> bool:
        """Whether it is the copy of the analysis that an isolate hangs on."""
        return bool(self.content.get("keyword") == AST_ORGANISM)


@dataclass(frozen=True)
class AnalysisWanted:
    """An analysis to copy for a result, with the level if that is a control's."""

    analysis_uid: str
    qc_level_uid: str | None = None


@dataclass(frozen=True)
class UseWanted:
    """A copy of an analysis, by its hash, to which the method and the device that were used are to be added."""

    hash: str
    method_uid: str | None = None
    laboratory_instrument_uid: str | None = None


@dataclass(frozen=True)
class Version:
    """A version to note: of which row it is the copy."""

    subject: Subject
    subject_uid: str
    copy: Copy
    version: int = 1


def _statement(columns: str, documents: str, extra: str = "") -> Any:
    return text(
        f"""
        WITH wanted AS (SELECT * FROM jsonb_to_recordset(:wanted) AS w({columns})),
        hashed AS MATERIALIZED (SELECT d.*, {HASH} AS hash FROM ({documents}) d),
        kept AS (
            INSERT INTO snapshot_content (hash, content) SELECT DISTINCT ON (hash) hash, content FROM hashed
            ORDER BY hash ON CONFLICT DO NOTHING
        )
        SELECT key, hash, content{extra} FROM hashed
        """
    ).bindparams(bindparam("wanted", type_=JSONB))


_ANALYSES = _statement(
    "key text, laboratory_uid text, analysis_uid text, method_uid text, laboratory_instrument_uid text,"
    " qc_level_uid text",
    ANALYSES,
)
_WITH_USE = _statement("key text, hash text, method_uid text, laboratory_instrument_uid text", WITH_USE)
_SAMPLES = _statement("key text, sample_type_uid text, profiles text[], analyses text[]", SAMPLES)
_REQUESTS = _statement(
    "key text, patient_uid text, client_uid text, client_contact_uid text", REQUESTS, extra=", identity"
)
_PATIENTS = _statement("key text", PATIENTS)


def copy_analyses(
    session: Session, laboratory_uid: str, wanted: Iterable[AnalysisWanted]
) -> dict[AnalysisWanted, Copy]:
    """Copies of analyses as they are set up now, for results of one laboratory."""
    keyed = {str(at): one for at, one in enumerate(dict.fromkeys(wanted))}
    rows = [
        {
            "key": key,
            "laboratory_uid": laboratory_uid,
            "analysis_uid": one.analysis_uid,
            "method_uid": None,
            "laboratory_instrument_uid": None,
            "qc_level_uid": one.qc_level_uid,
        }
        for key, one in keyed.items()
    ]
    return {keyed[row.key]: Copy(row.hash, row.content) for row in session.execute(_ANALYSES, {"wanted": rows})}


def add_use(session: Session, wanted: Iterable[UseWanted]) -> dict[UseWanted, Copy]:
    """Copies that say what was used; what another result used is left out of them, the rest stays as it was frozen."""
    keyed = {str(at): one for at, one in enumerate(dict.fromkeys(wanted))}
    rows = [{"key": key, **asdict(one)} for key, one in keyed.items()]
    return {keyed[row.key]: Copy(row.hash, row.content) for row in session.execute(_WITH_USE, {"wanted": rows})}


def copy_samples(session: Session, wanted: Sequence[tuple[str, Sequence[str], Sequence[str]]]) -> list[Copy]:
    """Copies for samples: of each, the uids of its sample type, its profiles and its analyses; in the same order."""
    rows = [
        {"key": str(at), "sample_type_uid": kind, "profiles": list(profiles), "analyses": list(analyses)}
        for at, (kind, profiles, analyses) in enumerate(wanted)
    ]
    found = {row.key: Copy(row.hash, row.content) for row in session.execute(_SAMPLES, {"wanted": rows})}
    return [found[str(at)] for at in range(len(rows))]


def copy_request(session: Session, patient_uid: str, client_uid: str, client_contact_uid: str | None) -> Copy:
    """The copy for a request."""
    row = {
        "key": "",
        "patient_uid": patient_uid,
        "client_uid": client_uid,
        "client_contact_uid": client_contact_uid,
    }
    found = session.execute(_REQUESTS, {"wanted": [row]}).one()
    return Copy(found.hash, found.content, found.identity)


def take_patients(session: Session, context: LabContext, uids: Iterable[str]) -> None:
    """Give new patients their first copies. The patients must have been flushed."""
    rows = session.execute(_PATIENTS, {"wanted": [{"key": uid} for uid in uids]}).all()
    if not rows:
        return
    note_versions(
        session,
        context,
        [Version(Subject.PATIENT, row.key, Copy(row.hash, row.content)) for row in rows],
        Occasion.REGISTRATION,
    )
    session.execute(
        text("UPDATE patient SET metadata_snapshot = :content WHERE uid = :uid"),
        [{"uid": row.key, "content": json.dumps(row.content)} for row in rows],
    )


def note_versions(
    session: Session,
    context: LabContext,
    versions: Iterable[Version],
    occasion: Occasion,
    reason: str | None = None,
) -> None:
    """Note which rows have which copies from now on. The rows' own columns are the caller's to set."""
    rows = [
        {
            "subject_type": version.subject,
            "subject_uid": version.subject_uid,
            "version": version.version,
            "content_hash": version.copy.hash,
            "identity": version.copy.identity,
            "occasion": occasion,
            "reason": reason,
            "taken_by": context.user_name,
            "laboratory_uid": context.laboratory("snapshot"),
            "created_by_uid": context.user_uid,
        }
        for version in versions
    ]
    if rows:
        session.execute(insert(Snapshot.__table__), rows)  # type: ignore[arg-type]  # a Table
