"""Routes that are plain functions: ``def read(lab: Reading, uid: Uid) -> PatientRow``.

Such a function runs in a thread, inside the transaction that its ``Work`` opened, and its answer is made there too, so
a request costs one hop. A route without a ``Work`` is refused when the application is built: none is left unguarded.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar, get_args

from fastapi import APIRouter, Response
from fastapi.params import Depends
from pydantic import TypeAdapter
from starlette.routing import Match
from starlette.types import Scope

from beak_lims.api.doors import Work
from beak_lims.api.problems import ANSWERS
from beak_lims.modules import CORE, parse_module
from tenantry.errors import DeclarationError

DEPTH = 3  # of the first part behind /api/v1
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def long_running(endpoint: Endpoint) -> Endpoint:
    """Mark a route whose work takes longer than a reader would wait, such as a file's: it has threads of its own."""
    endpoint.long_running = True  # type: ignore[attr-defined]  # a mark of our own
    return endpoint


class LabRouter(APIRouter):
    """A router of the laboratory. ``async def`` routes are left as they are; they too must have a ``Work``."""

    def __init__(self, *, prefix: str = "", tags: list[str | Enum] | None = None, module: str = CORE) -> None:
        """``module``: the organisation's, without which none of the routes is open."""
        self.places: set[str] = set()  # the first parts of its routes' paths
        self.module = parse_module(module)
        super().__init__(prefix=prefix, tags=tags)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As FastAPI's, which asks every route of every router. Those of another place need not be asked."""
        part = scope.get("path", "").split("/", DEPTH + 1)[DEPTH : DEPTH + 1]
        return super().matches(scope) if part and part[0] in self.places else (Match.NONE, {})

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **given: Any) -> None:
        """As FastAPI's. The answer's model is the function's annotation."""
        signature = inspect.signature(endpoint, eval_str=True)
        name, wanted = _guard(path, signature)
        given["responses"] = {**ANSWERS, **(given.get("responses") or {})}
        told = [f"{action}:{target}" for action, target in wanted]
        given["openapi_extra"] = {"x-module": self.module, "x-permissions": told, **(given.get("openapi_extra") or {})}
        if not inspect.iscoroutinefunction(endpoint):
            endpoint = _in_one_hop(endpoint, signature, name, given.get("status_code") or 200, self.module)
        super().add_api_route(path, endpoint, **given)
        self.places.add(f"{self.prefix}{path}".split("/")[1])


def _guard(path: str, signature: inspect.Signature) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The parameter that is the route's door, and what it asks for."""
    for name, parameter in signature.parameters.items():
        for mark in get_args(parameter.annotation)[1:]:
            if isinstance(mark, Depends) and get_args(parameter.annotation)[0] is Work:
                return name, getattr(mark.dependency, "wanted", ())
    raise DeclarationError(path, "a route of the laboratory needs a parameter that is a Work, such as `lab: Owning`.")


def _in_one_hop(
    endpoint: Callable[..., Any], signature: inspect.Signature, name: str, status: int, module: str
) -> Callable[..., Any]:
    returned = signature.return_annotation
    silent = returned in (None, inspect.Signature.empty)
    plain = silent or (isinstance(returned, type) and issubclass(returned, Response))
    long = getattr(endpoint, "long_running", False)
    answer: TypeAdapter[Any] | None = None if plain else TypeAdapter(returned)

    @functools.wraps(endpoint)
    async def routed(**given: Any) -> Response:
        work: Work = given[name]
        work.long_running, work.module = long, module
        return await work.served.run(work, functools.partial(endpoint, **given), answer, status)

    routed.__signature__ = signature  # type: ignore[attr-defined]  # which inspect reads
    del routed.__wrapped__  # its annotations are texts of another module
    return routed
