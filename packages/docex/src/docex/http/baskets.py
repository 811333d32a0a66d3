"""Routes about baskets: what they hold, taking documents in, finding them; and about the tenant as a whole."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool

from docex import access
from docex.docbasket import DocBasket
from docex.document import Document
from docex.http import bodies
from docex.http.doors import Entered, basket_of
from docex.http.streams import arriving
from docex.http.values import parsed_metadata
from tenantry.http.problems import declared

BasketId = Annotated[str, Path(pattern=r"^bas_[0-9a-f]{32}$")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=2**31)]
CONTENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The bytes, kept exactly",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def routes() -> APIRouter:
    """The router."""
    router = APIRouter(responses=declared(401, 403, 404, 409))

    @router.get("/usage", tags=["tenant"])
    def get_usage(docex: Entered) -> bodies.Usage:
        """How many documents and bytes the tenant holds, and how many it may."""
        return bodies.Usage.model_validate(vars(docex.get_usage()))

    @router.get("/routes", tags=["tenant"])
    def list_routes(docex: Entered) -> list[bodies.Route]:
        """The routes that documents can be sent over, without their configuration."""
        return [bodies.Route.model_validate(route, from_attributes=True) for route in docex.list_routes()]

    @router.get("/baskets", tags=["baskets"])
    def list_baskets(
        docex: Entered,
        status: Annotated[bodies.Clean | None, Query(max_length=50)] = None,
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> list[bodies.Basket]:
        """Baskets, newest first."""
        return [_basket(basket) for basket in docex.list_baskets(status, limit, offset)]

    @router.post("/baskets", status_code=201, tags=["baskets"])
    def create_basket(docex: Entered, new: bodies.NewBasket) -> bodies.Basket:
        """Make a basket. Its name is sanitised."""
        return _basket(docex.create_basket(new.name, new.description))

    @router.get("/baskets/{basket_id}", tags=["baskets"])
    def get_basket(docex: Entered, basket_id: BasketId) -> bodies.Basket:
        """One basket."""
        return _basket(basket_of(docex, basket_id))

    @router.get("/baskets/{basket_id}/stats", tags=["baskets"])
    def get_basket_stats(docex: Entered, basket_id: BasketId) -> bodies.BasketStats:
        """How many documents it holds, by status and by type."""
        return bodies.BasketStats.model_validate(basket_of(docex, basket_id).get_stats())

    @router.delete("/baskets/{basket_id}", status_code=204, tags=["baskets"])
    def delete_basket(docex: Entered, basket_id: BasketId) -> None:
        """Remove a basket with all its documents."""
        basket_of(docex, basket_id).delete()

    @router.get("/baskets/{basket_id}/documents", tags=["documents"])
    def list_documents(
        docex: Entered,
        basket_id: BasketId,
        limit: Limit = 100,
        after: Annotated[bodies.Clean | None, Query(max_length=2000)] = None,
        order_by: Literal["created_at", "updated_at", "name", "size", "status"] = "created_at",
        order_desc: bool = True,
        status: Annotated[bodies.Clean | None, Query(max_length=50)] = None,
        document_type: Annotated[bodies.Clean | None, Query(max_length=50)] = None,
    ) -> bodies.Documents:
        """One page of documents."""
        page = basket_of(docex, basket_id).page_documents(limit, after, order_by, order_desc, status, document_type)
        return bodies.Documents(items=[document_body(found) for found in page.documents], next=page.next)

    @router.post("/baskets/{basket_id}/documents", status_code=201, tags=["documents"], openapi_extra=CONTENT)
    async def add_document(
        docex: Entered,
        request: Request,
        basket_id: BasketId,
        name: Annotated[bodies.Clean, Query(min_length=1, max_length=255, description="What the file is called")],
        document_type: Annotated[bodies.Clean, Query(min_length=1, max_length=50)] = "file",
        metadata: Annotated[bodies.Clean | None, Query(max_length=4000, description="A JSON object")] = None,
    ) -> bodies.Document:
        """Take a content in as a document. The same content of the same name is the document that is there."""
        given = parsed_metadata(metadata)

        def add() -> bodies.Document:
            with arriving(request) as reader:
                return document_body(basket_of(docex, basket_id).add(reader, document_type, given, name=name))

        return await run_in_threadpool(add)

    @router.post("/baskets/{basket_id}/find", tags=["documents"])
    def find_documents(docex: Entered, basket_id: BasketId, search: bodies.Search) -> bodies.Documents:
        """Documents that carry all the given metadata; 777 is not "777"."""
        found = basket_of(docex, basket_id).find_documents_by_metadata(search.metadata, search.limit, search.offset)
        return bodies.Documents(items=[document_body(document) for document in found])

    @router.get("/baskets/{basket_id}/search", tags=["documents"])
    def search_documents(
        docex: Entered,
        basket_id: BasketId,
        q: Annotated[bodies.Clean, Query(min_length=1, max_length=1000)],
        limit: Annotated[int, Query(ge=1, le=100)] = 10,
        offset: Offset = 0,
    ) -> list[bodies.Found]:
        """Documents whose text has the words of the query, the best first."""
        access.check(docex.db, access.READ)
        hits = basket_of(docex, basket_id).search(q, limit, offset)
        return [bodies.Found(document=document_body(hit.document), rank=hit.rank, snippet=hit.snippet) for hit in hits]

    return router


def document_body(document: Document) -> bodies.Document:
    """A document as an answer shows it."""
    return bodies.Document.model_validate(document, from_attributes=True)


def _basket(basket: DocBasket) -> bodies.Basket:
    return bodies.Basket.model_validate(basket, from_attributes=True)
