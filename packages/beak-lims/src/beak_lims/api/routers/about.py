"""Routes about the server, which belong to no organisation and are open to anybody."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

import tenantry
from tenantry.http.problems import declared

router = APIRouter(tags=["server"], responses=declared())


class Health(BaseModel):
    """Whether the server answers."""

    status: Literal["ok"] = "ok"


class Version(BaseModel):
    """What is served."""

    name: Literal["Beak LIMS"] = "Beak LIMS"
    version: str


@router.get("/health/status", summary="Whether the server answers", openapi_extra={"x-permissions": []})
async def health() -> Health:
    return Health()


@router.get("/version", summary="Which version is served", openapi_extra={"x-permissions": []})
async def version() -> Version:
    return Version(version=tenantry.__version__)
