"""One tenant as a thing: saved to a file, restored from it, copied, exported, suspended, archived, renamed, deleted.

Nothing here handles the revisions of a tenant, and nothing moves a tenant to another server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenantry.archive.files import FolderFiles, Kept, TenantFiles
    from tenantry.archive.saving import Saved

# Loaded at first use: an application that only says where its files lie loads neither zstd nor a driver.
_HOMES = {"FolderFiles": "files", "Kept": "files", "Saved": "saving", "TenantFiles": "files"}

__all__ = ["FolderFiles", "Kept", "Saved", "TenantFiles"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
