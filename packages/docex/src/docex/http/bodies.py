"""What goes in and out as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue


def _clean(value: str) -> str:
    if "\0" in value or any(0xD800 <= ord(character) <= 0xDFFF for character in value):
        raise ValueError("a text without NUL and without half characters is expected")
    return value


Clean = Annotated[str, AfterValidator(_clean)]
Key = Annotated[Clean, Field(min_length=1, max_length=255)]


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


Moment = Annotated[datetime, AfterValidator(_in_utc)]  # the tables keep UTC without saying so


class Incoming(BaseModel):
    """Base of what is sent in: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class NewBasket(Incoming):
    """A basket to be made."""

    name: Clean = Field(min_length=1, max_length=255)
    description: Clean | None = Field(default=None, max_length=10_000)


class Basket(BaseModel):
    """A basket."""

    id: str
    name: str
    description: str | None
    status: str
    storage_type: str
    created_at: Moment
    updated_at: Moment


class BasketStats(BaseModel):
    """How many documents a basket holds, by status and by type."""

    id: str
    name: str
    document_counts: dict[str, int]
    type_counts: dict[str, int]


class Document(BaseModel):
    """A document."""

    id: str
    basket_id: str
    name: str
    content_type: str | None
    document_type: str
    size: int = Field(description="Bytes")
    checksum: str = Field(description="SHA-256 of the bytes, hexadecimal")
    status: str
    created_at: Moment
    updated_at: Moment


class Documents(BaseModel):
    """A page of documents."""

    items: list[Document]
    next: str | None = Field(default=None, description="Give it as `after` for the next page; null on the last one")


class Found(BaseModel):
    """A document that a full-text search found."""

    document: Document
    rank: float
    snippet: str


class Search(Incoming):
    """Documents that carry all the given metadata."""

    metadata: dict[Key, JsonValue] = Field(min_length=1)
    limit: int = Field(default=100, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=2**31)


class Changes(Incoming):
    """Metadata to be set; other keys stay."""

    metadata: dict[Key, JsonValue]


class Version(BaseModel):
    """One content that a document has had."""

    model_config = ConfigDict(extra="ignore")

    version: int
    original_path: str | None
    checksum: str | None
    size: int | None
    created_at: Moment


class Operation(BaseModel):
    """Something that was done with a document."""

    type: str
    status: str
    created_at: Moment
    completed_at: Moment | None
    error: str | None
    details: dict[str, Any] | None


class Sending(Incoming):
    """Where a document is to be sent."""

    route: Clean = Field(min_length=1, max_length=255)
    destination: Clean | None = Field(default=None, min_length=1, max_length=4096)


class Sent(BaseModel):
    """How a sending ended."""

    success: bool
    message: str
    details: dict[str, Any] | None


class Run(Incoming):
    """The processor to run; without one, the first that the rules name."""

    processor: Clean | None = Field(default=None, min_length=1, max_length=255)


class Outcome(BaseModel):
    """What came out of a processor."""

    success: bool
    content: JsonValue
    metadata: dict[str, Any]
    error: str | None


class Route(BaseModel):
    """A route that documents can be sent over."""

    name: str
    protocol: str
    purpose: str
    enabled: bool
    can_upload: bool


class Usage(BaseModel):
    """What the tenant holds, and what it may hold."""

    documents: int
    bytes: int
    max_documents: int | None
    max_bytes: int | None
