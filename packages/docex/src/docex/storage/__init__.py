"""Where contents are kept: which storage a basket's configuration means."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from docex.config.settings import problems
from docex.errors import ConfigurationError

if TYPE_CHECKING:
    from docex.config.settings import Settings
    from docex.storage.base import Storage

__all__ = ["new_storage_config", "storage_base", "storage_for"]


def storage_for(settings: Settings, tenant_id: str | None, config: Mapping[str, Any]) -> Storage:
    """The storage that a basket's ``storage_config`` names. Connects to nothing and makes nothing.

    :raises ConfigurationError: the directory for everybody is now the one that the basket names for itself.
    """
    if config.get("type") == "s3":
        from docex.storage.s3 import S3Storage, basket_settings  # S3's library is loaded where it is used

        return S3Storage(basket_settings(settings.storage.s3, config.get("s3", {})), tenant_id)
    from docex.storage.filesystem import FilesystemStorage

    path = config.get("path")
    if path is None:
        return FilesystemStorage(storage_base(settings), tenant_id)
    base = os.path.abspath(os.path.expanduser(path))
    if base == str(storage_base(settings)):
        raise ConfigurationError("storage.filesystem.path", f"{base} is a basket's own directory; name another one.")
    return FilesystemStorage(Path(base), tenant_id, f"filesystem:{base}"[:255])


def new_storage_config(settings: Settings, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a new basket records about its storage: the type, and what it says for itself.

    For S3 the bucket is recorded too: a configuration that names another one later is for new baskets.

    :raises ConfigurationError: something else was given, or a directory among those of the tenants.
    """
    config = {"type": settings.storage.type, **(given or {})}
    if config["type"] == "s3":
        return _of_s3(settings, config)
    if config["type"] != "filesystem":
        raise ConfigurationError("storage_config", f"type {config['type']!r} is not known; use 'filesystem' or 's3'.")
    if set(config) - {"type", "path"} or not isinstance(config.get("path", ""), str):
        raise ConfigurationError("storage_config", "expected {'type': 'filesystem', 'path': '...'}.")
    own = config.pop("path", None)
    return config if own is None else {**config, **_of_directory(settings, own)}


def _of_directory(settings: Settings, given: str) -> dict[str, Any]:
    path = os.path.abspath(os.path.expanduser(given))  # the same one from wherever it is used later
    real, base = os.path.realpath(path), os.path.realpath(storage_base(settings))
    if real == base:
        return {}  # under two names for one place, a basket would remove what another one counts
    if settings.by_tenant and real.startswith(f"{base}/"):
        reason = f"path {path!r} is in {base}, where each directory is a tenant's; name one outside of it, or none."
        raise ConfigurationError("storage_config", reason)
    return {"path": path}


def _of_s3(settings: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    from docex.storage.s3 import BASKET_KEYS, basket_settings, bucket_name

    own = config.get("s3", {})
    if set(config) - {"type", "s3"} or not isinstance(own, Mapping):
        raise ConfigurationError("storage_config", "expected {'type': 's3', 's3': {'bucket': '...'}}.")
    unknown = sorted(set(own) - set(BASKET_KEYS))
    if unknown:
        raise ConfigurationError(
            "storage_config",
            f"s3: {', '.join(unknown)}: a basket may say {', '.join(BASKET_KEYS)}; "
            "credentials belong into the configuration file.",
        )
    try:
        chosen = basket_settings(settings.storage.s3, own)
    except ValidationError as error:
        raise ConfigurationError("storage_config", f"s3: {problems(error)}.") from None
    recorded = {"region": chosen.region, "path_namespace": chosen.path_namespace, "prefix": chosen.prefix}
    return {"type": "s3", "s3": {**own, **recorded, "bucket": bucket_name(chosen)}}


def storage_base(settings: Settings) -> Path:
    """The directory that is configured for contents in files, absolute."""
    return Path(settings.storage.filesystem.path).expanduser().absolute()
