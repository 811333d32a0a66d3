"""A bound session reads and changes the rows of the laboratory at work, whichever way they are loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine.interfaces import CacheStats
from sqlalchemy.orm import Session, joinedload, selectinload, subqueryload

from beak_lims.models import Client, Identification, Patient, PatientIdentification

from ...conftest import Installation


@dataclass
class Mixed:
    """A patient of the first laboratory with two identifications, of which one was put into the second by hand."""

    installation: Installation
    patient_uid: str
    own: str
    strange: str

    @contextmanager
    def at_work(self, laboratory: str | None) -> Iterator[Session]:
        with self.installation.tenancy.session("alpha") as session:
            self.installation.bound(session, "alpha", laboratory)
            yield session


@pytest.fixture(scope="module")
def mixed(installation: Installation) -> Mixed:
    laboratories = installation.laboratories["alpha"]
    with installation.tenancy.session("alpha") as session:
        installation.bound(session, "alpha")
        client = Client(name="Mixed", code="MIXED")
        kinds = [Identification(name="Card of one"), Identification(name="Card of two")]
        session.add_all([client, *kinds])
        session.flush()
        patient = Patient(
            patient_id="P00ZZ-00001",
            client_patient_id="1",
            client_uid=client.uid,
            first_name="Ada",
            last_name="Moyo",
            gender="female",
        )
        patient.identifications = [PatientIdentification(identification_uid=kind.uid, value="1") for kind in kinds]
        session.add(patient)
        session.flush()
        own, strange = (one.uid for one in patient.identifications)
        table = PatientIdentification.__table__
        session.execute(
            sa.update(table).where(table.c.uid == strange).values(laboratory_uid=laboratories["Second"])  # type: ignore[arg-type]
        )
        return Mixed(installation, patient.uid, own, strange)


READINGS: dict[str, Callable[[Session, str], Any]] = {
    "select": lambda session, uid: session.scalars(sa.select(Patient).where(Patient.uid == uid)).all(),
    "columns": lambda session, uid: session.scalars(sa.select(Patient.uid).where(Patient.uid == uid)).all(),
    "get": lambda session, uid: [one for one in [session.get(Patient, uid)] if one],
    "count": lambda session, uid: [None] * (session.scalar(sa.select(sa.func.count()).select_from(Patient)) or 0),
    "exists": lambda session, uid: session.scalars(
        sa.select(sa.literal(1)).where(sa.exists().where(Patient.uid == uid))
    ).all(),
    "union": lambda session, uid: session.scalars(
        sa.union_all(sa.select(Patient.uid).where(Patient.uid == uid), sa.select(Patient.uid).where(sa.false()))
    ).all(),
    "with a parameter of its own": lambda session, uid: session.scalars(
        sa.select(Patient).where(Patient.uid == sa.bindparam("uid")), {"uid": uid}
    ).all(),
    "joined": lambda session, uid: session.scalars(
        sa.select(Client).join(Patient, Patient.client_uid == Client.uid).where(Patient.uid == uid)
    ).all(),
    "changed": lambda session, uid: session.scalars(
        sa.update(Patient).where(Patient.uid == uid).values(age=30).returning(Patient.uid)
    ).all(),
    "locked": lambda session, uid: session.scalars(
        sa.select(Patient).where(Patient.uid == uid).with_for_update()
    ).all(),
}


@pytest.mark.parametrize("reading", READINGS)
def test_rows_of_another_laboratory_are_not_there(mixed: Mixed, reading: str) -> None:
    read = READINGS[reading]
    for laboratory, there in (("First", 1), ("Second", 0), (None, 0), ("First", 1)):
        with mixed.at_work(laboratory) as session:
            assert len(read(session, mixed.patient_uid)) == there, laboratory


@pytest.mark.parametrize("loading", [None, selectinload, joinedload, subqueryload])
def test_rows_that_come_with_others_are_held_to_the_laboratory_too(mixed: Mixed, loading: Any) -> None:
    with mixed.at_work("First") as session:
        query = sa.select(Patient).where(Patient.uid == mixed.patient_uid)
        if loading is not None:
            query = query.options(loading(Patient.identifications))
        patient = session.scalars(query).unique().one()
        assert [one.uid for one in patient.identifications] == [mixed.own]
        session.expire(patient)
        assert [one.uid for one in patient.identifications] == [mixed.own]
        session.refresh(patient)
        assert patient.last_name == "Moyo"
        assert session.get(PatientIdentification, mixed.strange) is None


def test_statement_is_compiled_once_for_the_laboratories_of_all_organisations(installation: Installation) -> None:
    statement = sa.select(Patient).where(Patient.last_name.is_(None), Patient.age == 127)
    compiled = []
    engine = installation.tenancy.store.control_engine()
    while hasattr(engine, "beneath"):
        engine = engine.beneath

    def note(connection: Any, cursor: Any, sent: str, parameters: Any, context: Any, many: bool) -> None:
        if "patient.age" in sent:
            compiled.append((context.cache_hit, parameters["laboratory_at_work"]))

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        for tenant, laboratories in installation.laboratories.items():
            for laboratory, uid in laboratories.items():
                with installation.tenancy.session(tenant) as session:
                    installation.bound(session, tenant, laboratory)
                    assert session.scalars(statement).all() == []
                    assert compiled[-1][1] == uid
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    assert [hit for hit, _ in compiled] == [CacheStats.CACHE_MISS, *[CacheStats.CACHE_HIT] * 3]
