"""The routers of the laboratory, in the order in which OpenAPI shows them. A new one is a line here."""

from __future__ import annotations

from beak_lims.api.routers import auth, places
from beak_lims.api.routing import LabRouter

ROUTERS: tuple[LabRouter, ...] = (
    auth.router,
    places.router,
)
