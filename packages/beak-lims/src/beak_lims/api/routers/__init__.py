"""The routers of the laboratory, in the order in which OpenAPI shows them. A new one is a line here."""

from __future__ import annotations

from beak_lims.api.routers import (
    analyses,
    audit,
    auth,
    clients,
    imports,
    microbiology,
    organisation,
    patients,
    places,
    reports,
    requests,
    results,
    samples,
    setup,
    snapshots,
    users,
    worksheets,
)
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
    requests.router,
    samples.router,
    results.router,
    worksheets.router,
    microbiology.router,
    reports.router,
    snapshots.router,
    imports.router,
    audit.router,
)
