"""An application's Alembic script directory: its revisions, and the way from one to another.

Reads files only. Alembic is imported when a revision is asked for, not before: listing tenants needs none of it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.resources
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenantry.errors import DeclarationError, RevisionsRejected

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.runtime.migration import RevisionStep
    from alembic.script import ScriptDirectory
    from sqlalchemy import MetaData

HEAD = "head"
BASE = "base"


@dataclass(frozen=True)
class RevisionInfo:
    """One revision as people see it."""

    revision: str
    down_revision: str | None  # several are joined by ", " (a merge)
    message: str


class Migrations:
    """An ordinary Alembic script directory.

    ``location``: ``package:path/below/it`` or a path. ``metadata``: the models that autogenerate compares with, itself
    or as ``module:attribute``.
    """

    def __init__(
        self, location: str | Path, *, metadata: str | MetaData | None = None, version_table: str = "alembic_version"
    ) -> None:
        self.location = location
        self.version_table = version_table
        self._metadata = metadata

    def __repr__(self) -> str:
        return f"<Migrations {str(self.location)!r}>"

    @cached_property
    def directory(self) -> Path:
        """The script directory. :raises DeclarationError: there is none."""
        location = self.location
        if isinstance(location, str) and ":" in location and not Path(location).exists():
            package, _, below = location.partition(":")
            try:
                path = Path(str(importlib.resources.files(package))) / below
            except ModuleNotFoundError as error:
                raise DeclarationError(location, f"there is no package {package!r}.") from error
        else:
            path = Path(location)
        if not (path / "versions").is_dir():
            raise DeclarationError(
                str(location), f"{path} holds no 'versions' folder; expected an Alembic script directory."
            )
        return path.absolute()

    @property
    def metadata(self) -> MetaData:
        """The models of this chain. :raises DeclarationError: none were declared, or they are not there."""
        from sqlalchemy import MetaData

        found: Any = self._metadata
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            try:
                found = getattr(importlib.import_module(module), attribute)
            except (ModuleNotFoundError, AttributeError) as error:
                raise DeclarationError(self._metadata, f"expected module:attribute of a MetaData ({error}).") from error
        if not isinstance(found, MetaData):
            raise DeclarationError(repr(self), "autogenerate needs Migrations(..., metadata=...) to compare with.")
        return found

    @property
    def has_metadata(self) -> bool:
        """Whether models were declared."""
        return self._metadata is not None

    def reload(self) -> None:
        """Read the directory again at the next use: a revision was written."""
        for name in ("scripts", "digest", "_known"):
            self.__dict__.pop(name, None)

    @cached_property
    def config(self) -> Config:
        """An Alembic configuration of this directory alone; no alembic.ini is read."""
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(self.directory).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        return config

    @cached_property
    def scripts(self) -> ScriptDirectory:
        """Alembic's view of the directory, read once."""
        from alembic.script import ScriptDirectory

        return ScriptDirectory.from_config(self.config)

    @cached_property
    def digest(self) -> str:
        """A hash of the revisions' text and of what lies beside them: what was compiled from other text is not this."""
        digest = hashlib.sha256()
        for file in sorted((self.directory / "versions").rglob("*")):
            if not file.is_file() or "__pycache__" in file.parts:
                continue
            digest.update(f"{file.relative_to(self.directory).as_posix()}\0".encode())
            digest.update(file.read_bytes() + b"\0")
        return digest.hexdigest()

    def head(self) -> str | None:
        """The newest revision; None in an empty directory. :raises RevisionsRejected: there are several heads."""
        heads = self.scripts.get_heads()
        if len(heads) > 1:
            raise RevisionsRejected(
                self.directory, f"there are several heads ({', '.join(sorted(heads))}); join them with `alembic merge`."
            )
        return heads[0] if heads else None

    def resolve(self, revision: str) -> str | None:
        """The full name of a revision given as people type it; None for ``base``.

        :raises RevisionsRejected: it is not one.
        """
        from alembic.util import CommandError

        if revision == BASE:
            return None
        if revision == HEAD:
            return self.head()
        try:
            if not revision:
                raise CommandError("A revision must be named")
            script = self.scripts.get_revision(revision)
        except CommandError as error:
            raise RevisionsRejected(
                self.directory, f"{str(error).rstrip('.')}. `db history` shows those that exist."
            ) from error
        return script.revision

    def knows(self, revision: str) -> bool:
        """Whether this build holds the revision, by its full name."""
        return revision in self._known

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(script.revision for script in self.scripts.walk_revisions())

    def history(self) -> list[RevisionInfo]:
        """Every revision, newest first."""
        found = []
        for script in self.scripts.walk_revisions():
            down = script.down_revision
            text = ", ".join(down) if isinstance(down, (tuple, list)) else down
            found.append(RevisionInfo(script.revision, text, script.doc))
        return found

    def steps(self, heads: tuple[str, ...], target: str | None) -> list[RevisionStep]:
        """Alembic's own steps from where a store stands (nowhere, or at one or several heads) to a revision, up or
        down.

        :raises RevisionsRejected: neither lies on the way to the other.
        """
        from alembic.script.revision import RevisionError
        from alembic.util import CommandError

        if heads == ((target,) if target else ()):
            return []
        try:
            if target is not None and self._ancestors(target).issuperset(heads):
                return self.scripts._upgrade_revs(target, heads)  # type: ignore[arg-type]  # what alembic.command itself calls
            return self.scripts._downgrade_revs(target or BASE, heads)  # type: ignore[arg-type]  # the same
        except (CommandError, RevisionError) as error:
            reason = f"there is no way from {', '.join(heads) or BASE} to {target or BASE}: {str(error).rstrip('.')}."
            raise RevisionsRejected(self.directory, reason) from error

    def lineage(self, revision: str | None) -> frozenset[str]:
        """This revision and every one below it."""
        return frozenset(self._ancestors(revision)) if revision is not None else frozenset()

    def _ancestors(self, revision: str) -> set[str]:
        return {script.revision for script in self.scripts.iterate_revisions(revision, BASE)}
