"""Values of a query that hold more than a word."""

from __future__ import annotations

import json
from typing import Any

from tenantry.http.errors import ValueRejected


def parsed_metadata(text: str | None) -> dict[str, Any]:
    """The JSON object in a query. :raises ValueRejected: it is none."""
    try:
        value = json.loads(text) if text is not None else {}
    except (ValueError, RecursionError) as error:
        raise ValueRejected("metadata", "it is not JSON.") from error
    if not isinstance(value, dict):
        raise ValueRejected("metadata", "a JSON object is expected.")
    return value
