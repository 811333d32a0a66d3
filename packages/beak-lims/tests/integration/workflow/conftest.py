"""A laboratory that is set up: analyses with their rules, clients, patients, devices, and people to work there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from beak_lims.context import LabContext
from beak_lims.models import (
    Analysis,
    AnalysisResult,
    Client,
    CorrectionFactor,
    DetectionLimit,
    Instrument,
    LaboratoryInstrument,
    LaboratorySetting,
    Method,
    Patient,
    Profile,
    QCLevel,
    RejectionReason,
    ResultOption,
    Sample,
    SampleType,
    Specification,
    Uncertainty,
    Unit,
    User,
)
from beak_lims.services.requests import NewRequest, NewSample, Registered, register_request
from beak_lims.services.results import Entry, submit_results, verify_results

from ...conftest import Installation


@dataclass
class Bench:
    """One laboratory at work. What is set up is named by keyword in ``uids``."""

    installation: Installation
    tenant: str
    laboratory: str
    uids: dict[str, str] = field(default_factory=dict)

    @property
    def laboratory_uid(self) -> str:
        return self.installation.laboratories[self.tenant][self.laboratory]

    def context(self, user: str | None = "ann") -> LabContext:
        """The context of a user: `ann`, `bob` or `cat`; of nobody with None."""
        more = {} if user is None else {"user_uid": self.uids[user], "user_name": user}
        return self.installation.context(self.tenant, self.laboratory, **more)

    @contextmanager
    def at_work(self, user: str | None = "ann") -> Iterator[tuple[Session, LabContext]]:
        """A transaction of one user."""
        with self.installation.tenancy.session(self.tenant) as session:
            more = {} if user is None else {"user_uid": self.uids[user], "user_name": user}
            yield session, self.installation.bound(session, self.tenant, self.laboratory, **more)

    def setting(self, **values: Any) -> None:
        """Change the laboratory's settings."""
        with self.installation.tenancy.session(self.tenant) as session:
            setting = session.scalars(
                select(LaboratorySetting).where(LaboratorySetting.laboratory_uid == self.laboratory_uid)
            ).one()
            for name, value in values.items():
                setattr(setting, name, value)

    def add(self, *rows: Any) -> None:
        with self.at_work(None) as (session, _):
            session.add_all(rows)

    def register(
        self, *samples: tuple[str, ...], patient: str = "patient", user: str = "ann", **more: Any
    ) -> Registered:
        """Register a request: a sample of blood for each tuple of keywords of analyses."""
        with self.at_work(user) as (session, context):
            new = [NewSample(self.uids["blood"], [self.uids[one] for one in asked], **more) for asked in samples]
            made = register_request(session, context, NewRequest(self.uids[patient], new))
            session.expunge_all()
        return made

    def submit(self, made: Registered, user: str = "ann", **values: str) -> None:
        """Enter values by the keyword of the analysis, in every sample that asks for it."""
        with self.at_work(user) as (session, context):
            names = {uid: name for name, uid in self.uids.items()}
            entries = [
                Entry(one.uid, values[names[one.analysis_uid]])
                for one in made.results
                if names[one.analysis_uid] in values
            ]
            submit_results(session, context, entries)

    def verify(self, made: Registered, user: str = "bob") -> None:
        with self.at_work(user) as (session, context):
            verify_results(session, context, [one.uid for one in made.results])

    def sample(self, uid: str) -> Sample:
        with self.at_work(None) as (session, _):
            found = session.scalars(select(Sample).where(Sample.uid == uid)).one()
            session.expunge_all()
        return found

    def result(self, uid: str) -> AnalysisResult:
        with self.at_work(None) as (session, _):
            found = session.scalars(select(AnalysisResult).where(AnalysisResult.uid == uid)).one()
            session.expunge_all()
        return found

    def approved(self, **values: str) -> Registered:
        """A request of one sample, entered by ann and verified by bob."""
        made = self.register(tuple(values))
        self.submit(made, **values)
        self.verify(made)
        return made


@pytest.fixture(scope="module")
def bench(installation: Installation) -> Bench:
    """The first laboratory of alpha, set up."""
    return set_up(installation, "alpha", "First")


def set_up(installation: Installation, tenant: str, laboratory: str) -> Bench:
    made = Bench(installation, tenant, laboratory)
    mark = uuid4().hex[:6]  # two laboratories of one organisation share most of what is set up

    def number(keyword: str, **more: Any) -> Analysis:
        return Analysis(name=f"{keyword} {mark}", keyword=f"{keyword}-{mark}", **more)

    with made.at_work(None) as (session, _):
        people = [
            User(
                first_name=name.title(),
                last_name="Moyo",
                email=f"{name}-{mark}@example.org",
                user_name=f"{name}-{mark}",
                hashed_password="-",
            )
            for name in ("ann", "bob", "cat")
        ]
        mmol, blood = Unit(name=f"mmol/L {mark}"), SampleType(name=f"Blood {mark}", abbr=f"BLD{mark}")
        urine = SampleType(name=f"Urine {mark}", abbr=f"URI{mark}")
        method, other_method = (
            Method(name=f"Dry {mark}", keyword=f"DRY{mark}"),
            Method(name=f"Wet {mark}", keyword=f"WET{mark}"),
        )
        model = Instrument(name=f"Analyser {mark}", keyword=f"AN{mark}")
        client = Client(name=f"Clinic {mark}", code=f"CL{mark}")
        session.add_all([*people, mmol, blood, urine, method, other_method, model, client])
        session.flush()
        glu = number("glu", unit_uid=mmol.uid, precision=1, tat_length_minutes=60)
        glu.methods, glu.instruments = [method, other_method], [model]
        glu.specifications = [
            Specification(
                min=Decimal("3.5"),
                max=Decimal("5.5"),
                min_warn=Decimal("2.0"),
                max_warn=Decimal("25"),
                max_report="Very high",
            ),
            Specification(gender="female", age_min=18, age_max=120, min=Decimal("3.9"), max=Decimal("5.1")),
            Specification(age_min=0, age_max=28, age_unit="days", min=Decimal("2.2"), max=Decimal("4.4")),
            Specification(method_uid=other_method.uid, min=Decimal("4.0"), max=Decimal("6.0")),
        ]
        pot = number("pot", unit_uid=mmol.uid, precision=1)
        pot.specifications = [Specification(min=Decimal("3.5"), max=Decimal("5.0"))]
        crp = number("crp", precision=2)
        crp.correction_factors = [CorrectionFactor(factor=Decimal("1.1"))]
        crp.detection_limits = [DetectionLimit(lower=Decimal("0.6"), upper=Decimal("300"))]
        crp.uncertainties = [Uncertainty(min=Decimal("1"), max=Decimal("100"), value=Decimal("0.5"))]
        hiv = number("hiv", result_type="select_list", required_verifications=2)
        hiv.result_options = [ResultOption(key=1, value="Negative"), ResultOption(key=2, value="Positive")]
        hiv.specifications = [Specification(warn_values=["Positive"], normal_value="Negative")]
        self_verified = number("dip", result_type="short_text", self_verification=True)
        culture = number("cul")
        culture.sample_types = [urine]
        session.add_all([glu, pot, crp, hiv, self_verified, culture])
        session.flush()
        device = LaboratoryInstrument(instrument_uid=model.uid, lab_name="Bench 1", serial_number="SN-1")
        profile = Profile(name=f"Panel {mark}", keyword=f"PNL{mark}")
        profile.analyses = [glu, pot]
        levels = [QCLevel(name="Low"), QCLevel(name="High")]
        reason = RejectionReason(reason=f"Clotted {mark}")

        def patient(name: str, **more: Any) -> Patient:
            number = uuid4().hex[:8].upper()
            return Patient(
                patient_id=f"T-{number}",
                client_patient_id=f"C-{number}",
                client_uid=client.uid,
                first_name=name,
                last_name="Secretname",
                **more,
            )

        patients = {
            "patient": patient("Tendai", gender="female", date_of_birth=date(1990, 5, 1), mobile_phone="0770123456"),
            "man": patient("Farai", gender="male", date_of_birth=date(1980, 1, 1)),
            "told": patient("Rudo", gender="male", age=40),
        }
        session.add_all([device, profile, *levels, reason, *patients.values()])
        session.flush()
        made.uids |= {
            "ann": people[0].uid,
            "bob": people[1].uid,
            "cat": people[2].uid,
            "blood": blood.uid,
            "urine": urine.uid,
            "dry": method.uid,
            "wet": other_method.uid,
            "device": device.uid,
            "client": client.uid,
            "glu": glu.uid,
            "pot": pot.uid,
            "crp": crp.uid,
            "hiv": hiv.uid,
            "dip": self_verified.uid,
            "cul": culture.uid,
            "profile": profile.uid,
            "low": levels[0].uid,
            "high": levels[1].uid,
            "clotted": reason.uid,
            **{name: one.uid for name, one in patients.items()},
        }
    return made
