"""What kind of content a file holds: text or binary, and its media type.

The media type follows the suffix alone. The common ones stand here, because what the system knows differs from
machine to machine.
"""

from __future__ import annotations

import mimetypes

UNKNOWN_TYPE = "application/octet-stream"

CONTENT_TYPES = {
    ".bmp": "image/bmp",
    ".csv": "text/csv",
    ".doc": "application/msword",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".gif": "image/gif",
    ".gz": "application/gzip",
    ".html": "text/html",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".md": "text/markdown",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".ppt": "application/vnd.ms-powerpoint",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".rtf": "application/rtf",
    ".svg": "image/svg+xml",
    ".tar": "application/x-tar",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".txt": "text/plain",
    ".wav": "audio/wav",
    ".webp": "image/webp",
    ".xls": "application/vnd.ms-excel",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zip": "application/zip",
}

# Some of these begin with bytes that look like text: a PDF's header does.
BINARY_SUFFIXES = frozenset(
    f".{name}"
    for names in (
        "doc docx odp ods odt pdf ppt pptx rtf xls xlsx",
        "bmp gif heic ico jpeg jpg png tif tiff webp",
        "avi flac mkv mov mp3 mp4 mpeg ogg wav webm wma wmv",
        "7z bz2 gz iso jar rar tar xz zip zst",
        "bin dll exe parquet pyc so sqlite woff woff2",
    )
    for name in names.split()
)
TEXT_LIMIT = 1024 * 1024  # bytes; the text of a longer content is not kept in the database
SEARCH_LIMIT = 400_000  # bytes of a text that can be searched: PostgreSQL allows 1 MiB of words and their positions

# A text has none of these, except the ends of lines and pages, and tabs.
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\f\r")) + b"\x7f"


def content_type(suffix: str) -> str:
    """The media type of a file with this suffix."""
    lowered = suffix.lower()
    return CONTENT_TYPES.get(lowered) or mimetypes.guess_type(f"file{lowered}", strict=False)[0] or UNKNOWN_TYPE


def is_binary(suffix: str, sample: bytes) -> bool:
    """Whether a file with this suffix and these first bytes is kept as bytes only, without its text in the database."""
    return suffix.lower() in BINARY_SUFFIXES or len(sample.translate(None, _CONTROLS)) != len(sample)


def text_of(suffix: str, sample: bytes, content: bytes | None) -> str | None:
    """The text of a content (UTF-8), every line end as it is; None for a binary, or one too long to be kept."""
    if content is None or is_binary(suffix, sample) or b"\0" in content:  # PostgreSQL's text holds no NUL
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def searchable(text: str) -> str:
    """The start of a text, as long as it can be searched, cut where a character ends."""
    if len(text) * 4 <= SEARCH_LIMIT:
        return text
    return text.encode("utf-8", "replace")[:SEARCH_LIMIT].decode("utf-8", "ignore").replace("\0", " ")
