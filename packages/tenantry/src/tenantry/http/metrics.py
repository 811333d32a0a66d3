"""What is counted, in Prometheus' text form: requests by route, the lanes' load, tenants by status, connections.

Labels hold route templates and statuses, never a slug or a user, so their number is bounded. With several worker
processes each counts into PROMETHEUS_MULTIPROC_DIR, and any of them tells the sum.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import Scope

from tenantry.http.lanes import Lane

MEDIA_TYPE = CONTENT_TYPE_LATEST
SHARED = "PROMETHEUS_MULTIPROC_DIR"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300)  # seconds
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# What a store tells of itself, and how several processes' are told as one.
HELD: Mapping[str, tuple[str, Literal["livesum", "livemax"]]] = {
    "connections": ("Connections to the database that are open", "livesum"),
    "connection_tenants_most": ("Tenants served by the connection that has served most", "livemax"),
    "connections_retired": ("Connections closed because they had served many tenants", "livesum"),
}


class Metrics:
    """The counters of one application and process."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("tenantry_http_requests", "Requests answered", labels, registry=self._registry)
        self._seconds = Histogram(
            "tenantry_http_request_seconds",
            "Time until the answer was out",
            ("method", "route"),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self.replays = Counter(
            "tenantry_http_replays", "Answers given again for an Idempotency-Key", registry=self._registry
        )
        loads = Gauge(
            "tenantry_http_lane_load",
            "Work begun or waiting",
            ("lane",),
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._held = {
            name: Gauge(f"tenantry_{name}", text, registry=self._registry, multiprocess_mode=mode)
            for name, (text, mode) in HELD.items()
        }
        self._lanes = [(loads.labels(lane.name), lane) for lane in lanes]

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one request."""
        route = getattr(scope.get("route"), "path", "(none)")
        method = scope["method"] if scope["method"] in METHODS else "(other)"
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self, tenants: Mapping[str, int], held: Mapping[str, int]) -> bytes:
        """Everything counted, with the tenants by status and what the store holds open (``Store.gauges``)."""
        for name, number in held.items():
            self._held[name].set(number)
        for gauge, lane in self._lanes:
            gauge.set(lane.taken)
        counted = self._registry
        if os.environ.get(SHARED):
            counted = CollectorRegistry()
            MultiProcessCollector(counted)  # type: ignore[no-untyped-call]  # its library has not typed it
        present = CollectorRegistry()
        present.register(_Tenants(tenants))
        return generate_latest(counted) + generate_latest(present)


class _Tenants(Collector):
    def __init__(self, tenants: Mapping[str, int]) -> None:
        self._tenants = tenants

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("tenantry_tenants", "Tenants by status", labels=["status"])
        for status, number in self._tenants.items():
            family.add_metric([status], number)
        yield family
