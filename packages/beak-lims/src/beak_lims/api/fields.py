"""The kinds of values that bodies and queries of the laboratory hold, with their bounds, as OpenAPI shows them.

Bodies that come in are strict: a field that is not known is refused, so a misspelt one is not passed over.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from beak_lims.models.base import CODE_LENGTH, EMAIL_LENGTH, NAME_LENGTH

UID_PATTERN = r"^[0-9a-f]{32}$"
LINE = r"^[^\x00-\x1f\x7f]*$"  # one line of text
EMAIL = r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$"
LINES = r"^[^\x00]*$"
MAX_LINES = 10_000  # characters
MAX_INTEGER = 2_147_483_647
MAX_LISTED = 500  # things that a list in a body may name

Uid = Annotated[str, Path(pattern=UID_PATTERN, description="The uid")]
Reference = Annotated[str, StringConstraints(pattern=UID_PATTERN)]
ByReference = Annotated[str | None, Query(pattern=UID_PATTERN)]
References = Annotated[list[Reference], Field(max_length=MAX_LISTED)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=NAME_LENGTH, pattern=LINE)]
Code = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=CODE_LENGTH, pattern=LINE)]
Phone = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=LINE)]
Lines = Annotated[str, StringConstraints(max_length=MAX_LINES, pattern=LINES)]
Email = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        to_lower=True,
        max_length=EMAIL_LENGTH,
        pattern=EMAIL,
    ),
]
Secret = Annotated[str, Field(min_length=1, max_length=1000, json_schema_extra={"format": "password"})]
Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Number = Annotated[Decimal, Field(max_digits=20, decimal_places=8, allow_inf_nan=False)]
Words = Annotated[str | None, Query(max_length=NAME_LENGTH, pattern=LINE, description="Words to look for")]


class Incoming(BaseModel):
    """Base of the bodies that come in."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, use_enum_values=True)


class Outgoing(BaseModel):
    """Base of what is answered, made from rows."""

    model_config = ConfigDict(from_attributes=True)


def bounded(length: int) -> Any:
    """One line of at most so many characters."""
    return Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=length, pattern=LINE)]
