"""The routers of the laboratory, in the order in which OpenAPI shows them. A new one is a line here."""

from __future__ import annotations

from beak_lims.api.routers import analyses, audit, auth, clients, imports, organisation, patients, places, setup, users
from beak_lims.api.routing import LabRouter

ROUTERS: tuple[LabRouter, ...] = (
    auth.router,
    organisation.router,
    users.router,
    places.router,
    clients.router,
    setup.router,
    analyses.router,
    patients.router,
    imports.router,
    audit.router,
)
