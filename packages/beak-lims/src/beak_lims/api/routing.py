"""Routes that are plain functions: ``def read(lab: Reading, uid: Uid) -> PatientRow``.

Such a function runs in a thread, inside the transaction that its ``Work`` opened, and its answer is made there too, so
a request costs one hop. A route without a ``Work`` is refused when the application is built: none is left unguarded.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_args

from fastapi import APIRouter, Response
from fastapi.params import Depends
from pydantic import TypeAdapter

from beak_lims.api.doors import Work
from beak_lims.api.problems import ANSWERS
from tenantry.errors import DeclarationError

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def long_running(endpoint: Endpoint) -> Endpoint:
    """Mark a route whose work takes longer than a reader would wait, such as a file's: it has threads of its own."""
    endpoint.long_running = True  # type: ignore[attr-defined]
    return endpoint


class LabRouter(APIRouter):
    """A router of the laboratory. ``async def`` routes are left as they are; they too must have a ``Work``."""

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **given: Any) -> None:
        """As FastAPI's. The answer's model is the function's annotation."""
        signature = inspect.signature(endpoint, eval_str=True)
        name, wanted = _guard(path, signature)
        given["responses"] = {**ANSWERS, **(given.get("responses") or {})}
        told = [f"{action}:{target}" for action, target in wanted]
        given["openapi_extra"] = {"x-permissions": told, **(given.get("openapi_extra") or {})}
        if not inspect.iscoroutinefunction(endpoint):
            endpoint = _in_one_hop(endpoint, signature, name, given.get("status_code") or 200)
        super().add_api_route(path, endpoint, **given)


def _guard(path: str, signature: inspect.Signature) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The parameter that is the route's door, and what it asks for."""
    for name, parameter in signature.parameters.items():
        for mark in get_args(parameter.annotation)[1:]:
            if isinstance(mark, Depends) and get_args(parameter.annotation)[0] is Work:
                return name, getattr(mark.dependency, "wanted", ())
    raise DeclarationError(path, "a route of the laboratory needs a parameter that is a Work, such as `lab: Owning`.")


def _in_one_hop(
    endpoint: Callable[..., Any], signature: inspect.Signature, name: str, status: int
) -> Callable[..., Any]:
    returned = signature.return_annotation
    silent = returned in (None, inspect.Signature.empty)
    plain = silent or (isinstance(returned, type) and issubclass(returned, Response))
    long = getattr(endpoint, "long_running", False)
    answer: TypeAdapter[Any] | None = None if plain else TypeAdapter(returned)

    @functools.wraps(endpoint)
    async def routed(**given: Any) -> Response:
        work: Work = given[name]
        work.long_running = long
        return await work.served.run(work, functools.partial(endpoint, **given), answer, status)

    routed.__signature__ = signature  # type: ignore[attr-defined]
    del routed.__wrapped__  # its annotations are texts of another module
    return routed
