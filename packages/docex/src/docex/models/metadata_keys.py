"""The metadata keys that DocEX itself writes. Users may use any other key beside them."""

from __future__ import annotations

from enum import StrEnum


class MetadataKey(StrEnum):
    """One key per member; its value is the text stored in ``document_metadata.key``."""

    ORIGINAL_FILENAME = (
        "original_filename"  # the file's name as its user knows it; given with `add`, it also names the document
    )
    ORIGINAL_PATH = "original_path"  # the path of the newest version's source
    FILE_TYPE = "file_type"  # its suffix without the dot
    FILE_SIZE = "file_size"  # bytes
    FILE_EXTENSION = "file_extension"  # its suffix with the dot
    ORIGINAL_FILE_TIMESTAMP = "original_file_timestamp"  # when the source was last changed, ISO 8601, UTC
    CONTENT_CHECKSUM = "content_checksum"  # SHA-256 of the bytes, hexadecimal
    CONTENT_LENGTH = "content_length"  # characters of text, or bytes of anything else
    CONTENT_TYPE = "content_type"
