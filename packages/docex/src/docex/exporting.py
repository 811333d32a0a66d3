"""Write a document's content into a file of the user's, whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from docex.errors import StorageError

if TYPE_CHECKING:
    from docex.document import Document


def write_content(document: Document, target: Path, *, version: int | None = None, replace: bool = False) -> int:
    """Write the content; returns its length in bytes. The file appears under its name when it is whole.

    :raises StorageError: the file cannot be written, or is there and must not be replaced.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    with document.open(version) as content:
        try:
            with open(temporary, "xb") as file:
                shutil.copyfileobj(content, file)
                size = file.tell()
            if replace:
                os.replace(temporary, target)
            else:
                os.link(temporary, target)
        except FileExistsError as error:
            raise StorageError(target, "it is there already. Nothing was changed; --force replaces it.") from error
        except OSError as error:
            raise StorageError(target, f"cannot be written: {error.strerror}.") from error
        finally:
            with suppress(OSError):
                os.unlink(temporary)
    return size
