"""The one place where errors become answers: problem documents after RFC 9457, made from the error tree.

What the server itself got wrong is not told to the caller: an answer of 500 and above names the request, under which
the log has the reason. Values that were sent in, which may be secrets, are never repeated.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from tenantry import errors
from tenantry.errors import TenancyError
from tenantry.http import errors as edge
from tenantry.stores.faults import scrubbed

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# The most specific class of an error's ancestry decides. Errors of applications need no entry here: one that is a
# LookupError is a 404, one that is a ValueError a 400, any other one a 500.
STATUS: Mapping[type[Exception], int] = {
    errors.TenantExists: 409,
    errors.TenantBusy: 409,
    errors.TenantNotActive: 409,
    errors.TenantOutOfWindow: 503,
    errors.TenantNotFailed: 409,
    errors.StatusRefused: 409,
    errors.NotReady: 409,
    errors.StoreExists: 409,
    errors.StoreMissing: 409,
    errors.UnknownRevision: 409,
    errors.StoreUnavailable: 503,
    errors.RegistryMissing: 503,
    errors.RegistryOutdated: 503,
    errors.LoginRefused: 401,
    errors.TokenRefused: 401,
    errors.Forbidden: 403,
    errors.TooManyAttempts: 429,
    errors.UserNotFound: 404,
    errors.UserExists: 409,
    errors.LastAdministrator: 409,
    errors.SessionNotFound: 404,
    errors.AccountError: 400,
    edge.HostRejected: 400,
    edge.BodyTooSlow: 408,
    edge.BodyTooLarge: 413,
    edge.KeyReused: 422,
    edge.KeyInUse: 409,
    edge.TooBusy: 503,
    edge.TookTooLong: 504,
    LookupError: 404,
    ValueError: 400,
    Exception: 500,
}
RETRY_AFTER: Mapping[type[Exception], float] = {errors.TenantBusy: 1.0, errors.StoreUnavailable: 2.0}  # seconds
REASONS = {
    400: "A value cannot be used, or the Host is not served here",
    401: "No valid token, or a wrong login",
    403: "The role is missing",
    404: "There is nothing of that name",
    405: "The method is not allowed here",
    408: "The body did not arrive in time",
    409: "It conflicts with the present state",
    413: "The body is too large",
    422: "The request is not of the form this route takes",
    429: "Too many attempts",
    500: "The server failed; its log has the reason under the request_id",
    503: "The server is too busy, or its database cannot be reached: try again",
    504: "The work did not end in its time, and goes on",
}


class Problem(BaseModel):
    """What went wrong, after RFC 9457."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="The kind of problem, or about:blank when the status says it all")
    title: str
    status: int
    detail: str
    request_id: str = Field(description="The X-Request-ID of this answer, also found in the log and the audit trail")


def status_of(error: Exception) -> int:
    """The status of the answer that tells of this error. A bug is the server's fault, whatever its class."""
    if not isinstance(error, TenancyError):
        return 500
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How OpenAPI is told that a route may answer with these problems; the ones that any route may have come along."""
    schema = {"$ref": "#/components/schemas/Problem"}
    every: Iterable[int] = sorted({*statuses, 400, 408, 413, 422, 500, 503})
    answers: dict[int | str, dict[str, Any]] = {}
    for status in every:
        answers[status] = {"description": REASONS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        if status in (409, 429, 503):
            answers[status]["headers"] = {
                "Retry-After": {"description": "Seconds after which to try again", "schema": {"type": "integer"}}
            }
        if status == 401:
            answers[status]["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return answers


def problem_of(error: Exception, request_id: str) -> Response:
    """The answer for any error. One that is nobody's fault but the server's is logged here."""
    if isinstance(error, HTTPException):
        return _answer(error.status_code, _phrase(error.status_code), str(error.detail), request_id, error.headers)
    if isinstance(error, RequestValidationError):
        return _invalid(error, request_id)
    status = status_of(error)
    headers = {}
    retry = getattr(error, "retry_after", None) or next(
        (seconds for kind, seconds in RETRY_AFTER.items() if isinstance(error, kind)), None
    )
    if retry is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry)))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    told = status < 500 or isinstance(error, (edge.RequestRejected, errors.TenantOutOfWindow))
    if not told:
        # What the engine says on purpose says it all; a bug is told with its traceback.
        bug = None if isinstance(error, TenancyError) else error
        level = logging.WARNING if bug is None else logging.ERROR
        logger.log(
            level, "request %s failed: %s: %s", request_id, type(error).__name__, scrubbed(str(error)), exc_info=bug
        )
    detail = str(error) if told else f"{REASONS.get(status, REASONS[500])} (request {request_id})."
    return _answer(status, _phrase(status), detail, request_id, headers, kind=_kind(error))


async def as_problem(request: Request, error: Exception) -> Response:
    """FastAPI's handler for every error."""
    return problem_of(error, request_id_of(request.scope))


def request_id_of(scope: Mapping[str, Any]) -> str:
    """The identifier of a request, as the edge gave it."""
    facts = scope.get("tenantry.request")
    return "" if facts is None else str(facts.request_id)


def _invalid(error: RequestValidationError, request_id: str) -> Response:
    found = [{"at": [str(part) for part in e["loc"]], "reason": e["msg"]} for e in error.errors()]
    detail = "; ".join(f"{'.'.join(item['at'])}: {item['reason']}" for item in found[:5])
    return _answer(422, "Request not understood", detail, request_id, kind="request-invalid", errors=found[:50])


def _answer(
    status: int,
    title: str,
    detail: str,
    request_id: str,
    headers: Mapping[str, str] | None = None,
    *,
    kind: str | None = None,
    **more: Any,
) -> Response:
    body = {
        "type": f"urn:tenantry:problem:{kind}" if kind else "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id,
        **more,
    }
    return JSONResponse(body, status, dict(headers or {}), MEDIA_TYPE)


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase


def _kind(error: Exception) -> str:
    """The class's name as words: ``TenantExists`` is ``tenant-exists``. A bug's class is nobody's business."""
    if not isinstance(error, TenancyError):
        return "internal-error"
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()


def describe(app: FastAPI) -> None:
    """Have OpenAPI know the problem document, which no route names as its model, and drop FastAPI's own error model."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = Problem.model_json_schema()
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it
