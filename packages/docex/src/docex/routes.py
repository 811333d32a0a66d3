"""The routes of a DocEX object: making, finding and removing them, and sending documents over them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from docex import access
from docex.config.settings import problems
from docex.database import Database
from docex.errors import DocumentNotFound, RouteNotFound, RouteRejected
from docex.models.tables import new_id
from docex.services.route_service import RouteService
from docex.transport.config import OtherParty, stored
from docex.transport.route import Route
from docex.transport.transport_result import TransportResult
from docex.transport.transporter_factory import TransporterFactory
from docex.vault import Vault

if TYPE_CHECKING:
    from docex.document import Document

LONGEST_NAME = 255  # characters
LONGEST_PURPOSE = 50
Result = TypeVar("Result")


class Routes:
    """What :class:`~docex.application.DocEX` does with routes."""

    db: Database

    if TYPE_CHECKING:

        def get_document(
            self, document_id: str, basket_id: str | None = None, basket_name: str | None = None
        ) -> Document | None: ...

    def get_available_transport_types(self) -> list[str]:
        """The kinds of routes that can be made."""
        return TransporterFactory.types()

    def create_route(
        self,
        name: str,
        transport_type: str,
        config: Mapping[str, Any],
        purpose: str = "distribution",
        can_upload: bool = True,
        can_download: bool = True,
        can_list: bool = True,
        can_delete: bool = False,
        enabled: bool = True,
        other_party: Mapping[str, Any] | None = None,
        *,
        tags: list[str] | None = None,
        priority: int = 0,
        metadata: Mapping[str, Any] | None = None,
    ) -> Route:
        """Make a route. Passwords and keys in ``config`` are sealed before they are stored; ``{"env": "NAME"}`` in
        their place stays a reference to the environment. Nothing is connected to; see :meth:`Route.validate`.

        :raises RouteRejected: a value cannot be used. :raises RouteExists: the name is taken.
        """
        # Before the key is made: who may not make routes leaves no trace.
        access.check(self.db, access.ADMIN)
        _refuse_name(name)
        if not 0 < len(purpose) <= LONGEST_PURPOSE:
            raise RouteRejected(name, f"purpose must be text of 1 to {LONGEST_PURPOSE} characters.")
        checked = TransporterFactory.check(name, str(transport_type), config)
        party = _party(name, other_party)
        route_id = new_id("rt")
        values: dict[str, Any] = {
            "name": name,
            "purpose": purpose,
            "protocol": checked.type,
            "config": stored(checked, Vault(), route_id),
            "can_upload": can_upload,
            "can_download": can_download,
            "can_list": can_list,
            "can_delete": can_delete,
            "enabled": enabled,
            "tags": list(tags or ()),
            "priority": priority,
            "route_metadata": dict(metadata or {}),
        }
        if party is not None:
            values |= {"other_party_id": party.id, "other_party_name": party.name, "other_party_type": party.type}
            if party.metadata:
                values["route_metadata"]["other_party"] = party.metadata
        return Route(self.db, RouteService(self.db).create(route_id, values))

    def get_route(self, name: str) -> Route | None:
        """The route of that name."""
        record = RouteService(self.db).get(name)
        return None if record is None else Route(self.db, record)

    def list_routes(
        self, purpose: str | None = None, transport_type: str | None = None, enabled: bool | None = None
    ) -> list[Route]:
        """Routes, those of higher priority first, then by name."""
        protocol = None if transport_type is None else str(transport_type)
        return [Route(self.db, record) for record in RouteService(self.db).list(purpose, protocol, enabled)]

    def enable_route(self, name: str, *, enabled: bool = True) -> None:
        """Let a route be used, or not. :raises RouteNotFound: there is none of that name."""
        RouteService(self.db).set_enabled(name, enabled)

    def delete_route(self, name: str) -> bool:
        """Remove a route with the record of its use. False: there was none of that name."""
        return RouteService(self.db).delete(name)

    def list_route_operations(
        self,
        route_name: str | None = None,
        document_id: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[dict[str, Any]]:
        """What was done over one route, with one document, or at all; newest first."""
        return RouteService(self.db).operations(
            route_name=route_name, document_id=document_id, limit=limit, offset=offset
        )

    def send_document(
        self,
        document_id: str,
        route_name: str,
        destination: str | None = None,
        basket_id: str | None = None,
        basket_name: str | None = None,
    ) -> TransportResult:
        """Send a document's stored bytes over a route, under its own name unless ``destination`` says another.

        A transfer that fails is returned as a result, and recorded like one that succeeds, which makes the document's
        status SENT. :meth:`Route.upload_document` is the same for callers in an event loop.

        :raises RouteNotFound: there is no such route. :raises DocumentNotFound: there is no such document, or it lies
            in another basket than the one named.
        """
        route = self.get_route(route_name)
        if route is None:
            raise RouteNotFound(route_name)
        document = self.get_document(document_id, basket_id, basket_name)
        if document is None:
            raise DocumentNotFound(document_id)
        return waited_for(route.upload_document(document, destination))


def waited_for(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of asynchronous work, for callers that are not: also inside a running event loop, which waits."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            failures.append(error)

    thread = threading.Thread(target=run, name="docex-route")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _refuse_name(name: str) -> None:
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise RouteRejected(
            name[:80], f"a name is 1 to {LONGEST_NAME} printable characters, without blanks at its ends."
        )


def _party(route: str, given: Mapping[str, Any] | None) -> OtherParty | None:
    if given is None:
        return None
    try:
        return OtherParty.model_validate(dict(given))
    except ValidationError as error:
        raise RouteRejected(route, f"other_party: {problems(error)}.") from None
