"""Storages for scripts by the name of their type: ``filesystem``, ``s3``, and those a script registers.

A registered class is for the script that asks for it here; baskets keep their contents in ``filesystem`` or ``s3``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from docex.errors import ConfigurationError
from docex.storage.abstract_storage import AbstractStorage

# S3's library is loaded where it is used.
BUILT_IN = {
    "filesystem": ("docex.storage.filesystem_storage", "FileSystemStorage"),
    "s3": ("docex.storage.s3_storage", "S3Storage"),
}


class StorageFactory:
    """Makes storages of a configuration such as ``{"type": "filesystem", "path": "kept"}``."""

    _registered: ClassVar[dict[str, type[AbstractStorage]]] = {}

    @classmethod
    def register_storage(cls, name: str, storage_class: object) -> None:
        """Make a class known in this process under a name. :raises ConfigurationError: it is no storage."""
        if not inspect.isclass(storage_class) or not issubclass(storage_class, AbstractStorage):
            raise ConfigurationError(f"storage {name!r}", "its class must derive from AbstractStorage.")
        cls._registered[name] = storage_class

    @classmethod
    def create_storage(cls, config: Mapping[str, Any]) -> AbstractStorage:
        """The storage of a configuration. :raises ConfigurationError: its type is not known."""
        name, known = str(config.get("type", "filesystem")), cls.get_available_storages()
        if name not in known:
            raise ConfigurationError("storage", f"type {name!r} is not known; there are {', '.join(sorted(known))}.")
        make: Any = known[name]
        storage: AbstractStorage = make(config)
        return storage

    @classmethod
    def get_available_storages(cls) -> dict[str, type[AbstractStorage]]:
        """All known classes by name."""
        built_in = {name: getattr(import_module(module), kind) for name, (module, kind) in BUILT_IN.items()}
        return {**built_in, **cls._registered}
