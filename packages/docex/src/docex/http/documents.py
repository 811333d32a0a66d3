"""Routes about one document: its content, metadata, history, and what is done with it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from docex.http import bodies
from docex.http.baskets import CONTENT, document_body
from docex.http.doors import Entered, document_of
from docex.http.streams import arriving, content_response
from tenantry.http.errors import ValueRejected
from tenantry.http.problems import declared

DocumentId = Annotated[str, Path(pattern=r"^doc_[0-9a-f]{32}$")]
_BYTES: dict[str, Any] = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
DOWNLOAD: dict[int | str, dict[str, Any]] = {
    200: {"description": "The content", **_BYTES},
    206: {"description": "The part that was asked for", **_BYTES},
    304: {"description": "It has not changed"},
    416: {"description": "There are no such bytes"},
}


def routes() -> APIRouter:
    """The router."""
    router = APIRouter(prefix="/documents/{document_id}", tags=["documents"], responses=declared(401, 403, 404, 409))

    @router.get("")
    def get_document(docex: Entered, document_id: DocumentId) -> bodies.Document:
        """One document."""
        return document_body(document_of(docex, document_id))

    @router.delete("", status_code=204)
    def delete_document(docex: Entered, document_id: DocumentId) -> None:
        """Remove a document, all its versions included."""
        document_of(docex, document_id).remove_from_basket()

    @router.api_route("/content", methods=["GET"], response_class=Response, responses=DOWNLOAD)
    @router.api_route("/content", methods=["HEAD"], response_class=Response, include_in_schema=False)
    def get_content(
        docex: Entered,
        request: Request,
        document_id: DocumentId,
        version: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="An earlier one, from 1")] = None,
    ) -> Response:
        """The bytes as they came. Takes `Range`, `If-Range` and `If-None-Match`."""
        document = document_of(docex, document_id)
        size, checksum = document.size, document.checksum
        if version is not None:
            found = next((row for row in document.get_versions() if row["version"] == version), None)
            if found is None or found["size"] is None:
                raise ValueRejected("version", f"the document has no version {version}.")
            size, checksum = found["size"], found["checksum"]
        return content_response(
            request,
            document.open(version),
            size=size,
            checksum=checksum,
            name=document.name,
            content_type=document.content_type,
        )

    @router.put("/content", openapi_extra=CONTENT)
    async def update_content(
        docex: Entered,
        request: Request,
        document_id: DocumentId,
        name: Annotated[bodies.Clean | None, Query(min_length=1, max_length=255)] = None,
    ) -> bodies.Document:
        """Give the document another content; the earlier one stays, as a version."""

        def update() -> bodies.Document:
            document = document_of(docex, document_id)
            with arriving(request) as reader:
                changed = document.basket.update_document(document_id, reader, name=name or document.name)
            return document_body(changed)

        return await run_in_threadpool(update)

    @router.get("/metadata")
    def get_metadata(docex: Entered, document_id: DocumentId) -> dict[str, Any]:
        """All metadata."""
        return document_of(docex, document_id).get_metadata()

    @router.patch("/metadata")
    def update_metadata(docex: Entered, document_id: DocumentId, changes: bodies.Changes) -> dict[str, Any]:
        """Set the given keys; others stay. Answers with all metadata."""
        document = document_of(docex, document_id)
        document.update_metadata(changes.metadata)
        return document.get_metadata()

    @router.get("/versions")
    def get_versions(docex: Entered, document_id: DocumentId) -> list[bodies.Version]:
        """Every content the document has had, oldest first."""
        return [bodies.Version.model_validate(row) for row in document_of(docex, document_id).get_versions()]

    @router.get("/operations")
    def get_operations(docex: Entered, document_id: DocumentId) -> list[bodies.Operation]:
        """What was done with the document, oldest first."""
        return [bodies.Operation.model_validate(row) for row in document_of(docex, document_id).get_operations()]

    @router.post("/send")
    def send_document(docex: Entered, document_id: DocumentId, sending: bodies.Sending) -> bodies.Sent:
        """Send the stored bytes over a route. A partner that is away is an answer too: `success` is false."""
        result = docex.send_document(document_id, sending.route, sending.destination)
        return bodies.Sent(success=result.success, message=result.message, details=result.details)

    @router.post("/process")
    def process_document(docex: Entered, document_id: DocumentId, run: bodies.Run) -> bodies.Outcome:
        """Run a processor. A document that it cannot read is an answer too: `success` is false."""
        result = docex.process_document(document_id, run.processor)
        return bodies.Outcome(
            success=result.success, content=result.content, metadata=dict(result.metadata), error=result.error
        )

    return router
