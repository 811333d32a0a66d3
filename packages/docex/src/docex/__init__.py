"""DocEX: document management in which every customer has a database of their own.

The names below are loaded on first use: ``import docex`` alone, and so ``docex --help``, must stay free of the
database libraries.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docex.application import DocEX
    from docex.config.docex_config import DocEXConfig
    from docex.context import UserContext
    from docex.models.records import BasketRecord, DocumentRecord

__version__ = version("tenantry-docex")

__all__ = ["BasketRecord", "DocEX", "DocEXConfig", "DocumentRecord", "UserContext", "__version__"]

_HOMES = {
    "BasketRecord": "docex.models.records",
    "DocEX": "docex.application",
    "DocEXConfig": "docex.config.docex_config",
    "DocumentRecord": "docex.models.records",
    "UserContext": "docex.context",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
