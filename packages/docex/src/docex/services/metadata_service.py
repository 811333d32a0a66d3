"""The metadata of documents: keys with JSON values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from docex.database import Database
from docex.errors import MetadataRejected
from docex.models.tables import INDEXED_VALUE, DocumentRow, MetadataRow, new_id, now

LONGEST_KEY = 255  # characters


def encoded(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The values as the table keeps them; equal values give equal text, whatever the order of keys inside them.

    :raises MetadataRejected: a key is no text of 1 to 255 characters, or a value has no JSON form.
    """
    return {_key(key): _value(key, value) for key, value in metadata.items()}


def _key(key: object) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY or "\0" in key:
        raise MetadataRejected(key, f"a key is text of 1 to {LONGEST_KEY} characters, without NUL.")
    return key


def _value(key: str, value: object) -> str:
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise MetadataRejected(key, f"its value has no JSON form: {error}.") from error


def write(session: Session, document_id: str, values: Mapping[str, str]) -> None:
    """Set a document's keys; two writers of one key at once leave one of their values."""
    if not values:
        return
    moment = now()
    rows = [
        {
            "id": new_id("dmt"),
            "document_id": document_id,
            "key": key,
            "value": value,
            "metadata_type": "custom",
            "created_at": moment,
            "updated_at": moment,
        }
        for key, value in sorted(values.items())  # one order for all, so that two writers cannot wait for each other
    ]
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(MetadataRow).values(rows)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["document_id", "key"],
            set_={"value": statement.excluded.value, "updated_at": statement.excluded.updated_at},
        )
    )


def having(metadata: Mapping[str, Any] | str) -> ColumnElement[bool]:
    """The condition that a document carries all these values, each under its key; of a text: under any key."""
    if isinstance(metadata, str):
        return _has(None, json.dumps(metadata))
    return and_(*(_has(key, value) for key, value in encoded(metadata).items()))


def _has(key: str | None, value: str) -> ColumnElement[bool]:
    found = exists().where(
        MetadataRow.document_id == DocumentRow.id,
        # Both: the first part is what the index holds, the second is the truth.
        func.substr(MetadataRow.value, 1, INDEXED_VALUE) == value[:INDEXED_VALUE],
        MetadataRow.value == value,
    )
    return found if key is None else found.where(MetadataRow.key == key)


class MetadataService:
    """Reads and changes the metadata of single documents."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get_metadata(self, document_id: str) -> dict[str, Any]:
        """All keys with their values."""
        query = select(MetadataRow.key, MetadataRow.value).where(MetadataRow.document_id == document_id)
        with self._db.session() as session:
            return {key: json.loads(value) for key, value in session.execute(query.order_by(MetadataRow.key))}

    def update_metadata(self, document_id: str, metadata: Mapping[str, Any]) -> None:
        """Set the given keys; others stay as they are. :raises MetadataRejected: see :func:`encoded`."""
        values = encoded(metadata)
        with self._db.session(write=True) as session:
            write(session, document_id, values)
