"""DocEX's errors as problem documents after RFC 9457, in the form that the engine's own edge gives them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import Request
from starlette.responses import JSONResponse, Response

from docex import errors
from docex.errors import DocexError
from tenantry.http.problems import MEDIA_TYPE, REASONS, request_id_of

logger = logging.getLogger(__name__)

# The most specific class of an error's ancestry decides.
STATUS: Mapping[type[BaseException], int] = {
    errors.TokenRefused: 401,
    errors.AccessDenied: 403,
    errors.BasketNotFound: 404,
    errors.DocumentNotFound: 404,
    errors.RouteNotFound: 404,
    errors.ProcessorNotFound: 404,
    errors.BasketExists: 409,
    errors.QuotaExceeded: 409,
    errors.RouteClosed: 409,
    errors.DatabaseError: 503,
    errors.StorageError: 503,
    errors.ContentMissing: 500,
    errors.KeyRejected: 400,
    errors.ConfigurationError: 500,
    errors.TenantError: 503,
    ValueError: 400,
    Exception: 500,
}


async def as_problem(request: Request, error: Exception) -> Response:
    """FastAPI's handler for DocEX's errors. What the server got wrong is told in its log, not to the caller."""
    request_id = request_id_of(request.scope)
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    detail = str(error)
    if status >= 500:
        logger.warning("request %s failed: %s: %s", request_id, type(error).__name__, error)
        detail = f"{REASONS[status]} (request {request_id})."
    kind = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()
    body = {
        "type": f"urn:docex:problem:{kind}" if isinstance(error, DocexError) else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "2"}}.get(status, {})
    return JSONResponse(body, status, headers, MEDIA_TYPE)
