"""What a received content says of itself: the metadata of a new version, and the words it can be found by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from docex.contents import SEARCH_LIMIT, content_type, is_binary
from docex.models.metadata_keys import MetadataKey
from docex.services.intake import Draft
from docex.sources import Source
from docex.storage.base import Staged


def start_of_text(suffix: str, staged: Staged) -> str | None:
    """The start of a text that is too long to be kept in the database."""
    if is_binary(suffix, staged.sample):
        return None
    with staged.open() as file:
        start = file.read(SEARCH_LIMIT)
    try:
        # The cut may go through a character.
        return start.decode("utf-8") if b"\0" not in start else None
    except UnicodeDecodeError as error:
        return start[: error.start].decode("utf-8") if error.start > len(start) - 4 else None


def described(source: Source, suffix: str, draft: Draft) -> dict[str, Any]:
    """The metadata that a new version sets."""
    staged = draft.staged
    found = {
        MetadataKey.ORIGINAL_FILENAME.value: source.name,
        MetadataKey.ORIGINAL_PATH.value: source.source,
        MetadataKey.FILE_TYPE.value: suffix.removeprefix("."),
        MetadataKey.FILE_SIZE.value: staged.size,
        MetadataKey.FILE_EXTENSION.value: suffix,
        MetadataKey.CONTENT_CHECKSUM.value: staged.checksum,
        MetadataKey.CONTENT_LENGTH.value: staged.size if draft.text is None else len(draft.text),
        MetadataKey.CONTENT_TYPE.value: content_type(suffix),
    }
    if source.changed is not None:
        changed = datetime.fromtimestamp(source.changed, UTC)
        found[MetadataKey.ORIGINAL_FILE_TIMESTAMP.value] = changed.isoformat()
    return found
