"""Slugs and the physical names made from them, parsed once by an allow-list.

After parsing, the type is the proof: SQL and paths take :class:`Slug`, :class:`SchemaName` or :class:`RelativePath`,
never ``str``. A slug that would give a name PostgreSQL cuts silently (over 63 bytes), a reserved name, or a path
outside the storage root is refused here, before anything is touched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tenantry.errors import NameRejected

MAX_IDENTIFIER = 63  # bytes; PostgreSQL's NAMEDATALEN - 1, longer names are cut without an error
MAX_FILE_NAME = 220  # bytes; file systems take 255, and temporary files are named after the one they become
RESERVED = frozenset({"information_schema", "public", "platform", "pg_catalog", "pg_toast"})
# A file of one of these names, with any suffix, is a device on Windows.
DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})

_PLACEHOLDER = re.compile(r"\{([a-z_]*)\}")


@dataclass(frozen=True)
class Slug:
    """A tenant's name as people type it. Made by :meth:`SlugRule.parse` only."""

    value: str

    def __str__(self) -> str:
        return self.value

    @property
    def key(self) -> str:
        """The form in which two slugs are the same name: letter case does not tell tenants apart."""
        return self.value.lower()


@dataclass(frozen=True)
class SlugRule:
    """Which slugs an application allows.

    ``pattern`` must match the whole slug and may allow ASCII letters, digits, ``_`` and ``-`` only; ``says`` tells
    people the rule in words.
    """

    pattern: str = r"[a-z][a-z0-9_-]{0,62}"
    says: str = "use a-z, 0-9, '_' and '-', 1 to 63 long, starting with a letter."
    reserved: frozenset[str] = field(default=frozenset())

    def parse(self, text: str) -> Slug:
        """Return the slug.

        :raises NameRejected: the text does not fit the rule, or is reserved (``pg_*``, ``information_schema``,
        ``public``, ``platform``).
        """
        if not re.fullmatch(r"[A-Za-z0-9_-]+", text, re.ASCII) or not re.fullmatch(self.pattern, text, re.ASCII):
            raise NameRejected("slug", text, self.says)
        lowered = text.lower()
        if lowered.startswith("pg_"):
            raise NameRejected("slug", text, "Slug cannot start with reserved prefix 'pg_'")
        if lowered in RESERVED or lowered in DEVICES or lowered in self.reserved:
            raise NameRejected("slug", text, "this name is reserved; choose another.")
        return Slug(text)


@dataclass(frozen=True)
class SchemaName:
    """The name of a PostgreSQL schema: at most 63 bytes and not reserved. Quote it where it enters SQL."""

    value: str

    def __post_init__(self) -> None:
        size = len(self.value.encode())
        if not self.value or "\0" in self.value:
            raise NameRejected("schema", self.value, "it is empty or holds a NUL.")
        if size > MAX_IDENTIFIER:
            raise NameRejected(
                "schema",
                self.value,
                f"it is {size} bytes long and PostgreSQL cuts names after {MAX_IDENTIFIER}; choose a shorter slug.",
            )
        if self.value.lower().startswith("pg_") or self.value.lower() in RESERVED:
            raise NameRejected("schema", self.value, "this name is reserved; choose another.")

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class RelativePath:
    """A path below a storage root: no step up, no absolute part, every part short enough for a file system."""

    value: str

    def __post_init__(self) -> None:
        path = PurePosixPath(self.value)
        if not self.value or "\0" in self.value or "\\" in self.value or path.is_absolute() or not path.parts:
            raise NameRejected("file", self.value, "it must be a relative path with '/' between its parts.")
        for part in path.parts:
            if (
                part in ("..", ".")
                or part.split(".")[0].lower() in DEVICES
                or len(part.encode()) > MAX_FILE_NAME
                or part != part.rstrip(". ")
            ):
                raise NameRejected("file", self.value, f"the part {part!r} is not allowed in a path.")

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class NameTemplate:
    """A pattern such as ``org_{slug}`` or ``tenant_{slug}/docex.db`` that gives every slug a physical name of its own.

    The slug must stand in it exactly once (DocEX writes it ``{tenant_id}``): so two slugs never give one name, unless
    they differ only in letter case, which the registry refuses.
    """

    template: str
    placeholder: str = "slug"

    def __post_init__(self) -> None:
        found = _PLACEHOLDER.findall(self.template)
        rest = _PLACEHOLDER.sub("", self.template)
        if found != [self.placeholder] or "{" in rest or "}" in rest:
            raise NameRejected(
                "template", self.template, f"it must hold {{{self.placeholder}}} exactly once and no other brace."
            )

    def fill(self, slug: Slug) -> str:
        """The template with the slug in its place, not yet checked as a schema or a path."""
        return self.template.replace("{" + self.placeholder + "}", slug.value)

    def schema(self, slug: Slug) -> SchemaName:
        """The slug's schema. :raises NameRejected: it would be too long or reserved."""
        return SchemaName(self.fill(slug))

    def path(self, slug: Slug) -> RelativePath:
        """The slug's file, relative to the storage root.

        :raises NameRejected: it would leave the root or be too long.
        """
        return RelativePath(self.fill(slug))
