"""The doors to the server itself: whether it lives, whether it can work, and what it has counted.

The first two are open and tell nothing more than that. What was counted is for platform users, and for the bearer of
the token that the settings name.
"""

from __future__ import annotations

import secrets

from fastapi import APIRouter
from starlette.responses import Response

from tenantry.http.bodies import Health
from tenantry.http.calls import Asking, Open, answered
from tenantry.http.metrics import MEDIA_TYPE
from tenantry.http.platform import again
from tenantry.http.problems import declared
from tenantry.iam.matrix import Action


def server_routes() -> APIRouter:
    """The doors."""
    router = APIRouter(tags=["server"])

    @router.get("/health/live", response_model=Health, responses=declared(), summary="Whether the server answers")
    async def live() -> Response:
        return answered({"status": "ok"})

    @router.get("/health/ready", response_model=Health, responses=declared(504), summary="Whether it can do its work")
    async def ready(call: Open) -> Response:
        await call.platform.probes.run(call.platform.probe)
        return answered({"status": "ok"})

    @router.get(
        "/metrics",
        response_class=Response,
        responses=declared(401, 403) | {200: {"description": "Prometheus' text form", "content": {"text/plain": {}}}},
        summary="What was counted",
    )
    async def metrics(call: Asking) -> Response:
        platform, token = call.platform, call.token
        wanted = platform.settings.metrics_token
        if wanted is not None and token is not None and secrets.compare_digest(token.encode(), wanted.encode()):
            counts = await platform.readers.run(lambda: again(platform.listing.counts))
        else:
            counts = await call.read(Action.LIST_TENANTS, lambda _: platform.listing.counts())
        return Response(platform.metrics.text(counts, platform.tenancy.store.gauges()), media_type=MEDIA_TYPE)

    return router
