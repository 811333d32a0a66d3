"""The contents of a tenant's documents as files that are saved, restored, moved and removed together with the tenant.

Of the configured directory: contents in a directory that a basket names for itself, or in S3, stay where they are.
The readable paths are links to contents, and are not saved; ``docex fsck --mend`` makes those that are missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from docex.storage.filesystem import FilesystemStorage
from tenantry.archive import FolderFiles, Kept
from tenantry.tenant import Tenant


class DocumentContents(FolderFiles):
    """Contents below ``base``, in a folder per tenant."""

    def __init__(self, base: Path) -> None:
        super().__init__("documents", lambda tenant: base / tenant.slug)
        self._base = base

    def list(self, tenant: Tenant) -> Iterator[Kept]:
        """Every content once."""
        contents = FilesystemStorage(self._base, tenant.slug).contents()
        for content in sorted(contents, key=lambda content: content.key):
            yield Kept(content.key, content.size)
