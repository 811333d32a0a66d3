"""Copies are renewed where they may be, versioned, taken back, and never rewritten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import select

from beak_lims.crypto import keyring
from beak_lims.errors import ChangeRefused
from beak_lims.models import (
    Analysis,
    AuditLog,
    Client,
    CorrectionFactor,
    DetectionLimit,
    Interim,
    LaboratoryInstrument,
    Patient,
    ResultOption,
    Snapshot,
    SnapshotContent,
    Specification,
    Uncertainty,
    Unit,
)
from beak_lims.models.base import Record
from beak_lims.services.reports import amend_report, publish_samples
from beak_lims.services.requests import Registered
from beak_lims.snapshots.refreshing import Refreshed, Reverted, Scope, refresh, revert, touched
from beak_lims.snapshots.taking import AnalysisWanted, copy_analyses, take_patients

from .conftest import Bench, set_up


def renew(bench: Bench, scope: Scope, reason: str | None = None) -> Refreshed:
    with bench.at_work("cat") as (session, context):
        return refresh(session, context, scope, [bench.laboratory_uid], reason)


def take_back(bench: Bench, run_uid: str) -> Reverted:
    with bench.at_work("cat") as (session, context):
        return revert(session, context, run_uid, "As it was")


@contextmanager
def upper_limit(bench: Bench, limit: str) -> Iterator[None]:
    """Potassium's range with another upper limit."""

    def change(to: str) -> None:
        with bench.at_work(None) as (session, _):
            session.connection().exec_driver_sql(
                "UPDATE specification SET max = %s WHERE analysis_uid = %s", (to, bench.uids["pot"])
            )

    change(limit)
    try:
        yield
    finally:
        change("5.0")


def limit_of(bench: Bench, made: Registered) -> str:
    """The upper limit in the copy that a request's first result goes by."""
    result = bench.result(made.results[0].uid)
    with bench.at_work() as (session, _):
        content = session.scalars(
            select(SnapshotContent.content).where(SnapshotContent.hash == result.snapshot_hash)
        ).one()
    return str(content["specifications"][0]["max"])


def versions(bench: Bench, uid: str) -> list[tuple[int, str, str | None, str]]:
    with bench.at_work() as (session, _):
        found = session.execute(
            select(Snapshot.version, Snapshot.occasion, Snapshot.reason, Snapshot.taken_by)
            .where(Snapshot.subject_uid == uid)
            .order_by(Snapshot.version)
        )
        return [tuple(row) for row in found]


def test_refresh_reaches_what_is_not_submitted_and_nothing_else(bench: Bench) -> None:
    open_, entered, done = (bench.register(("pot",)) for _ in range(3))
    half = bench.register(("pot", "glu"))
    for made in (entered, done, half):
        bench.submit(made, pot="4.5")
    bench.verify(done)
    with upper_limit(bench, "4.0"):
        run = renew(bench, Scope.ALL)
        assert limit_of(bench, open_) == "4"
        assert [limit_of(bench, made) for made in (entered, done, half)] == ["5", "5", "5"]
        assert run.renewed[run_subject(run, "analysis_result")] >= 1
        assert versions(bench, open_.results[0].uid) == [(1, "registration", None, "ann"), (2, "refresh", None, "cat")]
        again = renew(bench, Scope.ALL)
        assert set(again.renewed.values()) == {0}  # nothing differs any more
        assert again.seen == run.seen


def run_subject(run: Refreshed, name: str):  # type: ignore[no-untyped-def]
    return next(subject for subject in run.renewed if subject == name)


def test_hard_refresh_reaches_published_work_keeps_what_was_and_can_be_taken_back(bench: Bench) -> None:
    made = bench.approved(pot="4.5")
    with bench.at_work() as (session, context):
        first = publish_samples(session, context, [made.samples[0].uid])[0].content
    uid = made.results[0].uid
    before = bench.result(uid)
    with pytest.raises(ChangeRefused, match="reason"):
        renew(bench, Scope.HARD)
    with upper_limit(bench, "4.0"):
        with bench.at_work() as (session, _):
            assert touched(session, Scope.HARD, [bench.laboratory_uid])["published"] >= 1
        run = renew(bench, Scope.HARD, "Wrong range since May")
        after = bench.result(uid)
        assert limit_of(bench, made) == "4"
        # Judged is judged: the flag follows when an amended report is issued.
        assert (after.flag, after.judgement, after.frozen_at) == (before.flag, before.judgement, before.frozen_at)
        with bench.at_work() as (session, context):
            amended = amend_report(session, context, made.samples[0].uid, "Wrong range since May").content
        assert bench.result(uid).flag == "high"
        assert "3.5 - 5" in first
        assert "3.5 - 4" in amended
        undone = take_back(bench, run.run_uid)
        assert undone.reverted == sum(run.renewed.values())
        assert undone.left == 0
        assert limit_of(bench, made) == "5"
        assert bench.result(uid).snapshot_hash == before.snapshot_hash
        assert [row[:3] for row in versions(bench, uid)] == [
            (1, "registration", None),
            (2, "hard_refresh", "Wrong range since May"),
            (3, "revert", "As it was"),
        ]
        redone = take_back(bench, undone.run_uid)
        assert redone.reverted == undone.reverted
        assert limit_of(bench, made) == "4"
        assert take_back(bench, run.run_uid).left == sum(run.renewed.values())  # all have moved on since
    with bench.at_work() as (session, _):
        acts = session.scalars(
            select(AuditLog.action).where(AuditLog.target_uid.in_([run.run_uid, undone.run_uid]))
        ).all()
    assert sorted(acts) == ["snapshot hard-refresh", "snapshot revert"]


def test_patients_each_get_their_own_clients_copy(bench: Bench) -> None:
    with bench.at_work("cat") as (session, context):
        other = Client(name=f"Other {bench.uids['client'][:6]}", code=f"O{bench.uids['client'][-6:]}")
        session.add(other)
        session.flush()
        man = session.scalars(select(Patient).where(Patient.uid == bench.uids["man"])).one()
        man.client_uid = other.uid
        session.flush()
        take_patients(session, context, [bench.uids["patient"]])
        name = other.name
    run = renew(bench, Scope.PATIENTS)
    assert run.renewed[run_subject(run, "patient")] == 2  # one of the three had its copy already
    with bench.at_work() as (session, _):
        found = {
            uid: session.scalars(select(Patient.metadata_snapshot).where(Patient.uid == uid)).one()["client"]["name"]
            for uid in (bench.uids["patient"], bench.uids["man"])
        }
    assert found[bench.uids["man"]] == name
    assert found[bench.uids["patient"]] != name
    assert take_back(bench, run.run_uid).left == 2  # there was no version before the first


def test_corrected_name_reaches_an_open_request_encrypted(bench: Bench) -> None:
    made = bench.register(("glu",))
    with bench.at_work(None) as (session, _):
        session.scalars(select(Patient).where(Patient.uid == bench.uids["patient"])).one().middle_name = "Amendedname"
    renew(bench, Scope.ANALYSIS_REQUESTS)
    with bench.at_work() as (session, _):
        rows = session.execute(
            select(Snapshot.version, Snapshot.identity, SnapshotContent.content)
            .join(SnapshotContent, SnapshotContent.hash == Snapshot.content_hash)
            .where(Snapshot.subject_uid == made.request.uid)
            .order_by(Snapshot.version)
        ).all()
        assert [row.version for row in rows] == [1, 2]
        assert rows[0].content == rows[1].content
        assert (rows[1].content["patient"]["uid"], rows[1].content["client"]["uid"]) == (
            bench.uids["patient"],
            bench.uids["client"],
        )
        assert "Amendedname" not in str(rows)
        told = {name: value and keyring().decrypt(value) for name, value in rows[1].identity.items()}
        assert told == {
            "first_name": "Tendai",
            "middle_name": "Amendedname",
            "last_name": "Secretname",
            "date_of_birth": "1990-05-01",
        }
        session.scalars(select(Patient).where(Patient.uid == bench.uids["patient"])).one().middle_name = None


def test_copies_of_other_laboratories_are_left(bench: Bench) -> None:
    other = set_up(bench.installation, "alpha", "Second")
    made = other.register(("pot",))
    renew(bench, Scope.HARD, "Only the first laboratory")
    assert bench.installation.laboratories["alpha"]["Second"] == other.laboratory_uid
    assert len(versions(other, made.results[0].uid)) == 1


def test_versions_and_copies_are_never_changed_or_removed(bench: Bench) -> None:
    bench.register(("glu",))
    for statement in (
        "UPDATE snapshot SET reason = 'x'",
        "DELETE FROM snapshot",
        "UPDATE snapshot_content SET content = '{}'",
        "DELETE FROM snapshot_content",
        "TRUNCATE snapshot_content CASCADE",
    ):
        refused = pytest.raises(sa.exc.DBAPIError, match=r"added and never changed|permission denied")
        with refused, bench.at_work() as (session, _):
            session.connection().exec_driver_sql(statement)


RULES: dict[str, tuple[type[Record], dict[str, Any]]] = {
    "specifications": (
        Specification,
        {
            "min": 1,
            "max": 2,
            "min_warn": 0,
            "max_warn": 3,
            "min_report": "low",
            "max_report": "high",
            "normal_value": "clear",
            "warn_values": ["red"],
            "warn_report": "bloody",
            "gender": "female",
            "age_min": 1,
            "age_max": 9,
            "age_unit": "months",
        },
    ),
    "detection_limits": (DetectionLimit, {"lower": 1, "upper": 2}),
    "uncertainties": (Uncertainty, {"min": 1, "max": 2, "value": 3}),
    "correction_factors": (CorrectionFactor, {"factor": 2}),
    "interims": (Interim, {"key": 1, "content": "dilution"}),
    "result_options": (ResultOption, {"key": 1, "value": "clear"}),
}
WHOSE = {"uid", "analysis_uid", "created_at", "created_by_uid", "updated_at", "updated_by_uid"}


def test_copy_holds_every_field_of_every_rule(bench: Bench) -> None:
    with bench.at_work(None) as (session, _):
        unit = Unit(name="furlong")
        analysis = Analysis(name="Ruled", keyword="ruled")
        session.add_all([unit, analysis])
        session.flush()
        device = session.scalars(select(LaboratoryInstrument).filter_by(uid=bench.uids["device"])).one()
        of = {"unit_uid": unit.uid, "method_uid": bench.uids["wet"], "instrument_uid": device.instrument_uid}
        expected: dict[str, dict[str, Any]] = {}
        for name, (kind, values) in RULES.items():
            columns = set(kind.__table__.c.keys()) - WHOSE
            given = values | {column: key for column, key in of.items() if column in columns}
            assert set(given) == columns, (
                f"a field of {kind.__tablename__} is new: have the copy hold it, and this test"
            )
            session.add(kind(analysis_uid=analysis.uid, **given))
            expected[name] = {column: str(value) for column, value in given.items()}
        expected["specifications"]["unit"] = unit.name
        del expected["specifications"]["unit_uid"]
        session.flush()
        [copy] = copy_analyses(session, bench.laboratory_uid, [AnalysisWanted(analysis.uid)]).values()
        for name, rule in expected.items():
            [told] = copy.content[name]
            assert {column: str(told[column]) for column in rule} == rule
        session.rollback()


def test_hash_is_that_of_the_content(bench: Bench) -> None:
    bench.approved(glu="4", crp="2")
    with bench.at_work() as (session, _):
        wrong = session.connection().exec_driver_sql(
            "SELECT count(*) FROM snapshot_content"
            " WHERE hash <> encode(sha256(convert_to(content::text, 'UTF8')), 'hex')"
        )
        assert wrong.scalar_one() == 0
