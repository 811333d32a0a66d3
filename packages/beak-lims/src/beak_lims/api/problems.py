"""The laboratory's errors as answers. What the engine knows is the engine's to answer; here is what it does not know.

What the database refuses is told in the words of the API: which field, and whether it is taken, missing or in use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from fastapi import Request
from sqlalchemy.exc import IntegrityError
from starlette.responses import JSONResponse, Response

from beak_lims import errors
from tenantry.errors import TenancyError
from tenantry.http.problems import MEDIA_TYPE, declared, problem_of, request_id_of

STATUS: Mapping[type[TenancyError], int] = {
    errors.LaboratoryRefused: 403,
    errors.ModuleNotEnabled: 403,
    errors.NotPermitted: 403,
    errors.PasswordExpired: 403,
    errors.RecordExists: 409,
    errors.RecordInUse: 409,
    errors.ChangeRefused: 409,
    errors.ReferenceRejected: 422,
}
_TITLES = {403: "Forbidden", 409: "Conflict", 422: "Unprocessable Content"}
_DETAIL_KEY = re.compile(r"Key \((?P<columns>[^=]+)\)=")
_REFERRER = re.compile(r'from table "(?P<table>[^"]+)"')

# What any route of the laboratory may answer beside its own.
ANSWERS = declared(401, 403, 404, 409, 504)


def status_of(error: TenancyError) -> int | None:
    """The status for an error of the laboratory; None for one that is the engine's to answer."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), None)


async def as_problem(request: Request, error: Exception) -> Response:
    """FastAPI's handler for every error."""
    request_id = request_id_of(request.scope)
    status = status_of(error) if isinstance(error, TenancyError) else None
    if status is None:
        return problem_of(error, request_id)
    kind = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()
    body = {
        "type": f"urn:tenantry:problem:{kind}",
        "title": _TITLES[status],
        "status": status,
        "detail": str(error),
        "request_id": request_id,
    }
    return JSONResponse(body, status, media_type=MEDIA_TYPE)


@contextmanager
def constraints() -> Iterator[None]:
    """Turn what a constraint of the database refuses into the laboratory's own errors.

    :raises RecordExists, RecordInUse, ReferenceRejected: as the constraint says.
    """
    try:
        yield
    except IntegrityError as error:
        raise refusal_of(error) from error


def refusal_of(error: IntegrityError) -> TenancyError:
    """The laboratory's error for one of a constraint."""
    cause: Any = error.orig
    diagnostics = cause.diag
    what = _words(diagnostics.table_name or "record")
    detail = diagnostics.message_detail or ""
    found = _DETAIL_KEY.search(detail)
    columns = [] if found is None else [name.strip().strip('"') for name in found["columns"].split(",")]
    if isinstance(cause, psycopg.errors.UniqueViolation):
        own = [name for name in columns if name != "laboratory_uid"] or columns
        return errors.RecordExists(what, tuple(own))
    if isinstance(cause, psycopg.errors.ForeignKeyViolation):
        referrer = _REFERRER.search(detail)
        if referrer is not None:
            return errors.RecordInUse(_words(_of(diagnostics.message_primary)), _words(referrer["table"]))
        return errors.ReferenceRejected(columns[0] if columns else what)
    named = (diagnostics.constraint_name or diagnostics.column_name or "").removeprefix(f"ck_{diagnostics.table_name}_")
    return errors.InputRejected(f"The {what}", named, "the value breaks this rule.")


def _of(message: str | None) -> str:
    found = re.search(r'on table "(?P<table>[^"]+)"', message or "")
    return "record" if found is None else found["table"]


def _words(table: str) -> str:
    return table.replace("_", " ")
