"""Renew the copies of many rows at once, and take that back: one statement per kind of row, whatever their number.

A refresh takes set-up corrections into work that is not submitted yet, and leaves everything else as it is. A hard
refresh takes them into everything, approved and published work included; no result is judged again by it, and no issued
report changes. Either way a new version is added where the copy differs, every older one stays, and the run can be
reverted as a whole. Runs are in the audit trail.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from beak_lims import audit
from beak_lims.errors import ChangeRefused
from beak_lims.inputs import parse_name
from beak_lims.models.snapshot import Occasion, Subject
from beak_lims.snapshots.documents import ANALYSES, HASH, NEW_UID, PATIENTS, REQUESTS, SAMPLES
from beak_lims.workflow.results import ResultState
from beak_lims.workflow.samples import OPEN
from tenantry.registry.uids import new_uid

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext


class Scope(StrEnum):
    """What a refresh takes. The values are the names of the commands."""

    PATIENTS = "patients"
    ANALYSIS_REQUESTS = "analysis-requests"
    SAMPLES = "samples"
    ANALYSES = "analyses"
    ALL = "refresh-all"
    HARD = "hard-refresh"


SUBJECTS: dict[Scope, tuple[Subject, ...]] = {
    Scope.PATIENTS: (Subject.PATIENT,),
    Scope.ANALYSIS_REQUESTS: (Subject.ANALYSIS_REQUEST,),
    Scope.SAMPLES: (Subject.SAMPLE, Subject.ANALYSIS_RESULT),
    Scope.ANALYSES: (Subject.ANALYSIS_RESULT,),
    # In the order in which the laboratory's work locks rows, so that neither waits for the other for ever.
    Scope.ALL: (Subject.SAMPLE, Subject.ANALYSIS_RESULT, Subject.ANALYSIS_REQUEST),
    Scope.HARD: (Subject.SAMPLE, Subject.ANALYSIS_RESULT, Subject.ANALYSIS_REQUEST),
}


@dataclass(frozen=True)
class Refreshed:
    """What a run did, by kind of row: how many it looked at, and how many got a new version."""

    run_uid: str
    seen: dict[Subject, int]
    renewed: dict[Subject, int]


@dataclass(frozen=True)
class Run:
    """A run that renewed something: when, why and by whom, and how many rows."""

    run_uid: str
    at: datetime
    occasion: str
    rows: int
    taken_by: str
    reason: str | None


@dataclass(frozen=True)
class Reverted:
    """What taking back a run did: how many rows got the version before it again, and how many had moved on since."""

    run_uid: str
    reverted: int
    left: int


def refresh(
    session: Session, context: LabContext, scope: Scope, laboratories: Collection[str], reason: str | None = None
) -> Refreshed:
    """Renew the copies of these laboratories, by uid.

    :raises ChangeRefused: a hard refresh without a reason.
    """
    hard = scope is Scope.HARD
    if reason is not None:
        reason = parse_name("Reason", reason)
    elif hard:
        raise ChangeRefused("A hard refresh is kept with its reason; give one.")
    occasion = Occasion.HARD_REFRESH if hard else Occasion.REFRESH
    run_uid = new_uid()
    given = {
        "laboratories": list(laboratories),
        "run_uid": run_uid,
        "reason": reason,
        "occasion": occasion.value,
        "taken_by": context.user_name,
        "user_uid": context.user_uid,
        **_WORK,
    }
    seen: dict[Subject, int] = {}
    renewed: dict[Subject, int] = {}
    session.flush()
    for subject in SUBJECTS[scope]:
        row = session.execute(_REFRESH[subject, hard], given).one()
        seen[subject], renewed[subject] = row.seen, row.renewed
    session.expire_all()
    audit.note(
        session,
        context,
        f"snapshot {scope}",
        "snapshot",
        run_uid,
        after={
            "reason": reason,
            "laboratories": list(laboratories),
            "renewed": {str(k): v for k, v in renewed.items()},
        },
    )
    return Refreshed(run_uid, seen, renewed)


def touched(session: Session, scope: Scope, laboratories: Collection[str]) -> dict[str, int]:
    """How many rows a refresh would look at, by kind; of samples also how many of them are published."""
    given = {"laboratories": list(laboratories), **_WORK}
    counts = {
        str(subject): session.execute(_COUNT[subject, scope is Scope.HARD], given).scalar_one()
        for subject in SUBJECTS[scope]
    }
    if scope is Scope.HARD:
        published = text(
            "SELECT count(*) FROM sample WHERE laboratory_uid = ANY (:laboratories) AND status = 'published'"
        )
        counts["published"] = session.execute(published, given).scalar_one()
    return counts


def runs_of(session: Session, laboratories: Collection[str] | None = None) -> list[Run]:
    """The runs of the tenant, newest first; of these laboratories, where some are named, and their rows alone."""
    found = session.execute(
        text(
            "SELECT run_uid, min(taken_at) AS at, occasion, count(*) AS rows, taken_by, reason FROM snapshot s"
            f" WHERE run_uid IS NOT NULL AND {_OF_LABS} GROUP BY run_uid, occasion, taken_by, reason"
            " ORDER BY at DESC, run_uid DESC"
        ),
        {"laboratories": None if laboratories is None else list(laboratories)},
    )
    return [Run(*row) for row in found]


def revert(
    session: Session, context: LabContext, run_uid: str, reason: str, laboratories: Collection[str] | None = None
) -> Reverted:
    """Give every row of a run the version that it had before, as a new version; those of these laboratories alone,
    where some are named.

    Rows that got another version since are left as they are. A revert is a run too, and can be reverted.

    :raises ChangeRefused: there is no such run.
    """
    reason = parse_name("Reason", reason)
    own_uid = new_uid()
    given = {
        "of": run_uid,
        "laboratories": None if laboratories is None else list(laboratories),
        "run_uid": own_uid,
        "reason": reason,
        "occasion": Occasion.REVERT.value,
        "taken_by": context.user_name,
        "user_uid": context.user_uid,
    }
    session.flush()
    counted = text(f"SELECT count(*) FROM snapshot s WHERE run_uid = :of AND {_OF_LABS}")
    total = session.execute(counted, given).scalar_one()
    if not total:
        raise ChangeRefused(f"No run {run_uid!r} renewed anything here. The refresh printed its run; it is 32 digits.")
    reverted = sum(session.execute(statement, given).scalar_one() for statement in _REVERT)
    session.expire_all()
    after = {"reason": reason, "of": run_uid, "reverted": reverted}
    audit.note(session, context, "snapshot revert", "snapshot", own_uid, after=after)
    return Reverted(own_uid, reverted, total - reverted)


# What is not submitted yet, for the plain refreshes.
_WORK: dict[str, Any] = {"open": [state.value for state in OPEN], "pending": ResultState.PENDING.value}
_LABS = "laboratory_uid = ANY (:laboratories)"
_OF_LABS = "(CAST(:laboratories AS text[]) IS NULL OR s.laboratory_uid = ANY (CAST(:laboratories AS text[])))"

# Of each kind: the rows that a plain refresh takes, those that a hard one takes, and what their documents need.
_ROWS = {
    Subject.PATIENT: (
        f"SELECT uid, laboratory_uid FROM patient WHERE {_LABS}",
        f"SELECT uid, laboratory_uid FROM patient WHERE {_LABS}",
    ),
    Subject.ANALYSIS_REQUEST: (
        f"SELECT r.uid, r.laboratory_uid, r.snapshot_hash, r.snapshot_version, r.patient_uid, r.client_uid,"
        f" r.client_contact_uid FROM analysis_request r WHERE r.{_LABS} AND r.frozen_at IS NULL AND EXISTS"
        " (SELECT FROM sample s WHERE s.analysis_request_uid = r.uid AND s.status = ANY (:open))"
        " ORDER BY r.uid FOR UPDATE OF r",
        f"SELECT uid, laboratory_uid, snapshot_hash, snapshot_version, patient_uid, client_uid, client_contact_uid"
        f" FROM analysis_request WHERE {_LABS} ORDER BY uid FOR UPDATE",
    ),
    Subject.SAMPLE: (
        f"SELECT uid, laboratory_uid, snapshot_hash, snapshot_version, sample_type_uid FROM sample"
        f" WHERE {_LABS} AND status = ANY (:open) AND frozen_at IS NULL ORDER BY uid FOR UPDATE",
        f"SELECT uid, laboratory_uid, snapshot_hash, snapshot_version, sample_type_uid FROM sample"
        f" WHERE {_LABS} ORDER BY uid FOR UPDATE",
    ),
    Subject.ANALYSIS_RESULT: (
        f"SELECT r.uid, r.laboratory_uid, r.snapshot_hash, r.snapshot_version, r.analysis_uid, r.method_uid,"
        f" r.laboratory_instrument_uid, s.qc_level_uid FROM analysis_result r JOIN sample s ON s.uid = r.sample_uid"
        f" WHERE r.{_LABS} AND s.status = ANY (:open) AND r.status = :pending AND r.frozen_at IS NULL"
        " ORDER BY r.uid FOR UPDATE OF r",
        f"SELECT r.uid, r.laboratory_uid, r.snapshot_hash, r.snapshot_version, r.analysis_uid, r.method_uid,"
        f" r.laboratory_instrument_uid, s.qc_level_uid FROM analysis_result r JOIN sample s ON s.uid = r.sample_uid"
        f" WHERE r.{_LABS} ORDER BY r.uid FOR UPDATE OF r",
    ),
}
# Rows with equal needs share one document: of these columns its key is made.
_ANALYSIS_KEY = (
    "concat_ws(',', laboratory_uid, analysis_uid, coalesce(method_uid, '-'),"
    " coalesce(laboratory_instrument_uid, '-'), coalesce(qc_level_uid, '-'))"
)
_WANTED = {
    Subject.PATIENT: ("SELECT *, uid AS key FROM rows", "SELECT DISTINCT key FROM keyed", PATIENTS, "NULL::jsonb"),
    Subject.ANALYSIS_REQUEST: (
        "SELECT *, uid AS key FROM rows",
        "SELECT key, patient_uid, client_uid, client_contact_uid FROM keyed",
        REQUESTS,
        "d.identity",
    ),
    Subject.SAMPLE: (
        "SELECT r.*, concat_ws(',', sample_type_uid, '-', p.uids, '-', a.uids) AS key, p.uids AS profiles,"
        " a.uids AS analyses FROM rows r, LATERAL (SELECT coalesce(array_agg(profile_uid ORDER BY profile_uid), '{}')"
        " AS uids FROM sample_profile WHERE sample_uid = r.uid) p, LATERAL (SELECT coalesce(array_agg(analysis_uid"
        " ORDER BY analysis_uid), '{}') AS uids FROM sample_analysis WHERE sample_uid = r.uid) a",
        "SELECT DISTINCT key, sample_type_uid, profiles, analyses FROM keyed",
        SAMPLES,
        "NULL::jsonb",
    ),
    Subject.ANALYSIS_RESULT: (
        f"SELECT *, {_ANALYSIS_KEY} AS key FROM rows",
        "SELECT DISTINCT key, laboratory_uid, analysis_uid, method_uid, laboratory_instrument_uid, qc_level_uid"
        " FROM keyed",
        ANALYSES,
        "NULL::jsonb",
    ),
}
_INSERT = f"""
    INSERT INTO snapshot (uid, subject_type, subject_uid, version, content_hash, identity, occasion, reason, taken_by,
                          run_uid, laboratory_uid, created_by_uid, updated_by_uid)
    SELECT {NEW_UID}, '{{subject}}', c.uid, c.version, c.hash, c.identity, :occasion, :reason, :taken_by,
           :run_uid, c.laboratory_uid, :user_uid, :user_uid FROM changed c
"""
_SET = """
    UPDATE {table} t SET snapshot_hash = c.hash, snapshot_version = c.version, updated_at = now(),
           updated_by_uid = :user_uid
    FROM changed c WHERE t.uid = c.uid RETURNING 1
"""
_SET_PATIENT = """
    UPDATE patient t SET metadata_snapshot = c.content, updated_at = now(), updated_by_uid = :user_uid
    FROM changed c WHERE t.uid = c.uid RETURNING 1
"""


def _refreshing(subject: Subject, hard: bool) -> Any:
    keyed, wanted, documents, identity = _WANTED[subject]
    is_patient = subject is Subject.PATIENT
    # A patient's row does not say which copy it has: the newest version does. Of a request, the patient's name may have
    # changed while the rest of the copy did not.
    last = (
        "LEFT JOIN LATERAL (SELECT s.version, s.content_hash, s.identity FROM snapshot s WHERE s.subject_uid = k.uid"
        " ORDER BY s.version DESC LIMIT 1) v ON true"
    )
    if is_patient:
        version, differs = "coalesce(v.version, 0) + 1", "h.hash IS DISTINCT FROM v.content_hash"
    elif subject is Subject.ANALYSIS_REQUEST:
        version = "k.snapshot_version + 1"
        differs = "(h.hash <> k.snapshot_hash OR h.identity IS DISTINCT FROM v.identity)"
    else:
        version, differs, last = "k.snapshot_version + 1", "h.hash <> k.snapshot_hash", ""
    return text(
        f"""
        WITH rows AS MATERIALIZED ({_ROWS[subject][hard]}),
        keyed AS MATERIALIZED ({keyed}),
        wanted AS MATERIALIZED ({wanted}),
        hashed AS MATERIALIZED (
            SELECT d.key, d.content, {identity} AS identity, {HASH.replace("content", "d.content")} AS hash
            FROM ({documents}) d
        ),
        kept AS (
            INSERT INTO snapshot_content (hash, content) SELECT DISTINCT ON (hash) hash, content FROM hashed
            ORDER BY hash ON CONFLICT DO NOTHING
        ),
        changed AS MATERIALIZED (
            SELECT k.uid, k.laboratory_uid, {version} AS version, h.hash, h.identity, h.content
            FROM keyed k JOIN hashed h USING (key) {last} WHERE {differs}
        ),
        versions AS ({_INSERT.format(subject=subject.value)}),
        renewed AS ({_SET_PATIENT if is_patient else _SET.format(table=subject.value)})
        SELECT (SELECT count(*) FROM rows) AS seen, (SELECT count(*) FROM renewed) AS renewed
        """
    )


def _reverting(subject: Subject) -> Any:
    is_patient = subject is Subject.PATIENT
    current = (
        "(SELECT max(n.version) FROM snapshot n WHERE n.subject_uid = s.subject_uid)"
        if is_patient
        else "t.snapshot_version"
    )
    return text(
        f"""
        WITH changed AS MATERIALIZED (
            SELECT t.uid, t.laboratory_uid, s.version + 1 AS version, b.content_hash AS hash, b.identity, c.content
            FROM snapshot s JOIN {subject.value} t ON t.uid = s.subject_uid
            JOIN snapshot b ON b.subject_uid = s.subject_uid AND b.version = s.version - 1
            JOIN snapshot_content c ON c.hash = b.content_hash
            WHERE s.run_uid = :of AND {_OF_LABS} AND s.subject_type = '{subject.value}' AND s.version = {current}
            FOR UPDATE OF t
        ),
        versions AS ({_INSERT.format(subject=subject.value)}),
        renewed AS ({_SET_PATIENT if is_patient else _SET.format(table=subject.value)})
        SELECT count(*) FROM renewed
        """
    )


_REFRESH = {(subject, hard): _refreshing(subject, hard) for subject in Subject for hard in (False, True)}
_REVERT = tuple(_reverting(subject) for subject in Subject)
_COUNT = {
    (subject, hard): text(f"SELECT count(*) FROM ({statements[hard]}) rows")
    for subject, statements in _ROWS.items()
    for hard in (False, True)
}
