"""Clients, patients and requests from CSV files, with a report of every row.

A file is UTF-8 with a header line; cells that are empty count as absent. Nothing is imported from a file with a bad row
unless ``partial`` is asked for. What a row must hold is what the route for one such thing asks for; other things are
named by their codes instead of their uids.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field, ValidationError
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from beak_lims.api.bodies import CLIENTS, NewPatient
from beak_lims.api.crud import apply, schemas_of
from beak_lims.api.fields import Code, Incoming, Lines, Name
from beak_lims.api.problems import refusal_of
from beak_lims.errors import InputRejected, ReferenceRejected
from beak_lims.models import (
    Analysis,
    Client,
    Country,
    District,
    Identification,
    Patient,
    Profile,
    Province,
    Record,
    SampleType,
)
from beak_lims.services.patients import register_patient
from beak_lims.services.requests import NewClinicalData, NewRequest, NewSample, register_request
from tenantry.errors import TenancyError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext

MAX_ROWS = 10_000
MAX_CELL = 10_000  # characters
IDENTIFICATION = "identification:"  # begins the column of one kind of identification
BETWEEN = ";"  # between several keywords in one cell
PLACES = {"country_code": Country, "province_code": Province, "district_code": District}

R = TypeVar("R", bound=Record)


class Imported(StrEnum):
    """What a file is of."""

    CLIENTS = "clients"
    PATIENTS = "patients"
    REQUESTS = "requests"


class Outcome(StrEnum):
    """What became of a row."""

    IMPORTED = "imported"
    REFUSED = "refused"
    LEFT_OUT = "left out"  # it is good, but others of its file are not


@dataclass(frozen=True)
class RowReport:
    """What became of one row. ``number``: the code or number of what was made of it."""

    line: int  # of the file, the header being 1
    outcome: Outcome
    uid: str | None = None
    number: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class ImportReport:
    """What became of a file."""

    imported: int
    refused: int
    rows: list[RowReport]


class RequestLine(Incoming):
    """A sample of a request, as a line of a file. Lines of one ``client_request_id`` are one request."""

    patient_id: Code | None = None
    client_patient_id: Name | None = None
    client_code: Code | None = None
    client_request_id: Code | None = None
    sample_type: Code = Field(description="Its abbreviation")
    analyses: Lines = Field("", description="Keywords, with ; between them")
    profiles: Lines = ""
    priority: Annotated[int, Field(ge=0, le=2)] = 0
    date_collected: datetime | None = None
    clinical_indication: Lines | None = None


Made = tuple[str, str]  # uid and number
Line = tuple[int, dict[str, str]]


def import_csv(
    session: Session, context: LabContext, kind: Imported, content: bytes, *, partial: bool = False
) -> ImportReport:
    """Import a file, in the caller's transaction.

    :raises InputRejected: the file cannot be read at all: its encoding, its header, its number of rows.
    """
    lines = list(_read(content, _columns(kind)))
    work: dict[Imported, Callable[[Session, LabContext, Sequence[Line]], Made]] = {
        Imported.CLIENTS: _client,
        Imported.PATIENTS: _patient,
        Imported.REQUESTS: _request,
    }
    groups = _grouped(lines) if kind is Imported.REQUESTS else [[line] for line in lines]
    reports: list[RowReport] = []
    whole = session.begin_nested()
    for group in groups:
        reports += _tried(session, group, functools.partial(work[kind], session, context, group))
    refused = sum(report.outcome is Outcome.REFUSED for report in reports)
    if refused and not partial:
        whole.rollback()
        reports = [
            report if report.outcome is Outcome.REFUSED else RowReport(report.line, Outcome.LEFT_OUT)
            for report in reports
        ]
    else:
        whole.commit()
    reports.sort(key=lambda report: report.line)
    return ImportReport(sum(report.outcome is Outcome.IMPORTED for report in reports), refused, reports)


def _tried(session: Session, group: Sequence[Line], make: Callable[[], Made]) -> list[RowReport]:
    try:
        with session.begin_nested():
            uid, number = make()
    except ValidationError as error:
        found = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors(include_input=False)]
        reason = "; ".join(found)
    except IntegrityError as error:
        reason = str(refusal_of(error))
    except TenancyError as error:
        reason = str(error)
    else:
        return [RowReport(line, Outcome.IMPORTED, uid, number) for line, _ in group]
    return [RowReport(line, Outcome.REFUSED, reason=reason) for line, _ in group]


def _read(content: bytes, known: frozenset[str]) -> Iterator[Line]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputRejected("The file", "", f"it is not UTF-8 (byte {error.start + 1}).") from error
    if "\0" in text:
        raise InputRejected("The file", "", "it holds a NUL character.")
    csv.field_size_limit(MAX_CELL)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, restkey="")
    try:
        header = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = header
        _check_header(header, known)
        for count, row in enumerate(reader, start=1):
            if count > MAX_ROWS:
                raise InputRejected("The file", "", f"it has more than {MAX_ROWS} rows; divide it.")
            yield reader.line_num, {name: value.strip() for name, value in _cells(row).items() if (value or "").strip()}
    except csv.Error as error:
        raise InputRejected("The file", "", f"line {reader.line_num} is no CSV ({error}).") from error


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    """The cells by column; those beyond the header's are one column that no file may have."""
    return {name: " ".join(value) if isinstance(value, list) else value for name, value in row.items()}


def _check_header(header: Sequence[str], known: frozenset[str]) -> None:
    unknown = [name for name in header if name not in known and not name.startswith(IDENTIFICATION)]
    if not header or unknown or len(set(header)) != len(header):
        wrong = ", ".join(unknown) or "the first line"
        raise InputRejected("The header", wrong, f"each column is one of {', '.join(sorted(known))}, and there once.")


def _columns(kind: Imported) -> frozenset[str]:
    match kind:
        case Imported.CLIENTS:
            fields = set(schemas_of(CLIENTS).new.model_fields) | set(PLACES)
        case Imported.PATIENTS:
            fields = set(NewPatient.model_fields) - {"identifications", "client_uid"} | set(PLACES) | {"client_code"}
        case Imported.REQUESTS:
            fields = set(RequestLine.model_fields)
    return frozenset(fields - {"country_uid", "province_uid", "district_uid"})


def _client(session: Session, context: LabContext, group: Sequence[Line]) -> Made:
    [(_, cells)] = group
    values = schemas_of(CLIENTS).new.model_validate(_placed(session, cells)).model_dump(exclude_unset=True)
    made = Client()
    apply(session, CLIENTS, made, values)
    session.add(made)
    session.flush()
    return made.uid, made.code


def _patient(session: Session, context: LabContext, group: Sequence[Line]) -> Made:
    [(_, cells)] = group
    values: dict[str, Any] = _placed(session, cells)
    code = values.pop("client_code", None)
    if code is None:
        raise InputRejected("client_code", "", "it is missing.")
    values["client_uid"] = _coded(session, Client, "code", code, "client_code").uid
    identifications = []
    for name in [name for name in values if name.startswith(IDENTIFICATION)]:
        kind = _coded(session, Identification, "name", name.removeprefix(IDENTIFICATION), name)
        identifications.append({"identification_uid": kind.uid, "value": values.pop(name)})
    values["identifications"] = identifications
    body = NewPatient.model_validate(values)
    own = body.model_dump(exclude={"although_known"})
    made = register_patient(session, context, own, although_known=body.although_known)
    return made.uid, made.patient_id


def _request(session: Session, context: LabContext, group: Sequence[Line]) -> Made:
    lines = [RequestLine.model_validate(cells) for _, cells in group]
    first = lines[0]
    if any((one.patient_id, one.client_patient_id) != (first.patient_id, first.client_patient_id) for one in lines):
        raise InputRejected("client_request_id", first.client_request_id or "", "its lines name different patients.")
    client = None if first.client_code is None else _coded(session, Client, "code", first.client_code, "client_code")
    samples = [
        NewSample(
            sample_type_uid=_coded(session, SampleType, "abbr", one.sample_type, "sample_type").uid,
            analyses=[_coded(session, Analysis, "keyword", key, "analyses").uid for key in _listed(one.analyses)],
            profiles=[_coded(session, Profile, "keyword", key, "profiles").uid for key in _listed(one.profiles)],
            priority=one.priority,
            date_collected=one.date_collected,
        )
        for one in lines
    ]
    indication = first.clinical_indication
    registered = register_request(
        session,
        context,
        NewRequest(
            patient_uid=_patient_of(session, first, client).uid,
            samples=samples,
            client_uid=None if client is None else client.uid,
            client_request_id=first.client_request_id,
            clinical=None if indication is None else NewClinicalData(clinical_indication=indication),
        ),
    )
    return registered.request.uid, registered.request.request_id


def _patient_of(session: Session, line: RequestLine, client: Client | None) -> Patient:
    if line.patient_id is not None:
        return _coded(session, Patient, "patient_id", line.patient_id, "patient_id")
    if line.client_patient_id is None:
        raise InputRejected("patient_id", "", "it or client_patient_id must be given.")
    wanted = select(Patient).where(Patient.client_patient_id == line.client_patient_id)
    if client is not None:
        wanted = wanted.where(Patient.client_uid == client.uid)
    found = session.scalars(wanted.limit(2)).all()
    if len(found) > 1:
        raise InputRejected("client_patient_id", line.client_patient_id, "several clients use it; give client_code.")
    if not found:
        raise ReferenceRejected("client_patient_id")
    return found[0]


def _grouped(lines: Sequence[Line]) -> list[list[Line]]:
    """The lines of one request together, in the order of their first ones."""
    groups: dict[object, list[Line]] = {}
    for line, cells in lines:
        groups.setdefault(cells.get("client_request_id") or line, []).append((line, cells))
    return list(groups.values())


def _placed(session: Session, cells: Mapping[str, str]) -> dict[str, Any]:
    """The cells with the places' uids in the place of their codes."""
    values: dict[str, Any] = {name: value for name, value in cells.items() if name not in PLACES}
    for name, model in PLACES.items():
        if name in cells:
            values[name.replace("_code", "_uid")] = _coded(session, model, "code", cells[name], name).uid
    return values


def _coded(session: Session, model: type[R], column: str, code: str, field: str) -> R:
    """The row of this code. :raises InputRejected: there is none that may be seen here."""
    found = session.scalar(select(model).where(getattr(model, column) == code))
    if found is None:
        raise InputRejected(field, code, "nothing of that name is there.")
    return found


def _listed(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(BETWEEN) if part.strip()]
