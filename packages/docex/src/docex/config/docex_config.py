"""The values in force: the configuration file over the packaged defaults.

The file is ``$DOCEX_CONFIG_FILE``, else ``$DOCEX_HOME/config.yaml``, else ``~/.docex/config.yaml``. It is read when
an object is made and never kept open; nothing but :meth:`DocEXConfig.setup` and
:meth:`DocEXConfig.enable_multi_tenancy` writes it. Both keep its comments and the keys they were not given, write it
whole or not at all, and leave it readable by its owner only, because it holds a password.
"""

from __future__ import annotations

import copy
import io
import logging
import os
import secrets
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from docex.config.settings import SECTIONS, Settings, defaults, problems, unknown_keys
from docex.errors import ConfigurationDamaged, ConfigurationError

logger = logging.getLogger(__name__)

OWNER_ONLY = 0o600
MASK = "********"
SECRETS = (("database", "postgres", ("password",)), ("storage", "s3", ("secret_key", "session_token")))
_reported: set[tuple[Path | str, ...]] = set()  # each warning is given once per process
_in_force: dict[Path, tuple[tuple[int, ...], DocEXConfig, Settings]] = {}
HEADER = "# DocEX configuration. Keys that are left out have their default values.\n"


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The configuration file that is used, whether it exists or not."""
    if environ.get("DOCEX_CONFIG_FILE"):
        return Path(environ["DOCEX_CONFIG_FILE"]).expanduser()
    try:
        return Path(environ.get("DOCEX_HOME") or "~/.docex").expanduser() / "config.yaml"
    except RuntimeError as error:
        raise ConfigurationError("~/.docex/config.yaml", "this user has no home directory; set DOCEX_HOME.") from error


class DocEXConfig:
    """The configuration of one file. Printing it shows no password."""

    def __init__(self, path: str | Path | None = None) -> None:
        """Read the file; one that does not exist gives the defaults.

        :raises ConfigurationDamaged: the file is there and cannot be read.
        """
        self.path = Path(path) if path is not None else config_path()
        text = _read(self.path)
        self.exists = text is not None
        self._given = _plain(self.path, text or "")
        _report_unknown(self.path, self._given)
        self._values = merged(defaults(), self._given)

    @classmethod
    def anew(cls, path: str | Path | None = None) -> Self:
        """As if the file did not exist, whatever it holds: :meth:`setup` replaces it."""
        config = cls.__new__(cls)
        config.path = Path(path) if path is not None else config_path()
        config.exists = False
        config._given = {}
        config._values = defaults()
        return config

    def __repr__(self) -> str:
        return f"<DocEXConfig {self.path}>"

    def get(self, key: str, default: Any = None) -> Any:
        """The value under a dotted key such as ``database.postgres.port``, or the default where there is none."""
        value: Any = self._values
        for part in key.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return default
            value = value[part]
        return copy.deepcopy(value)

    def given(self) -> dict[str, Any]:
        """What stands in the file itself, passwords included."""
        return copy.deepcopy(self._given)

    def as_dict(self) -> dict[str, Any]:
        """All values, passwords masked."""
        values = copy.deepcopy(self._values)
        for section, block, names in SECRETS:
            holder = values[section].get(block)
            for name in names:
                if isinstance(holder, dict) and holder.get(name) is not None:
                    holder[name] = MASK
        return values

    def validate(self) -> Settings:
        """The values, checked and typed.

        :raises ConfigurationError: a value cannot be used; the text names every such key.
        """
        return _checked(str(self.path), self._values)

    def setup(self, **sections: Any) -> None:
        """Merge the given sections into the file, which is made if needed. Nothing is written unless the whole result
        is valid.

        A new file holds every value, so that it can be read as a list of what may be changed.

        :raises ConfigurationError: a value cannot be used, or the file cannot be written.
        """
        given = _spelled(self.path, sections)
        _report_unknown(self.path, given)
        self._write(given if self.exists else merged(defaults(), given))

    def preview(self, **sections: Any) -> Settings:
        """What :meth:`setup` would bring into force, checked. Writes nothing."""
        return _checked(str(self.path), merged(self._values, _spelled(self.path, sections)))

    def enable_multi_tenancy(self) -> bool:
        """Give every tenant a database of its own, from now on. Returns whether the file had to be changed."""
        wanted = {"multi_tenancy_model": "database_level", "tenant_database_routing": True}
        if self._given.get("security", {}).items() >= wanted.items():
            return False
        self._write({"security": wanted})
        return True

    def _write(self, changes: Mapping[str, Any]) -> None:
        values = merged(self._values, changes)
        _checked(str(self.path), values)
        text = _edited(_read(self.path) if self.exists else None, changes)
        # What was just made must read back as what was meant: the file is not worth a gamble on a YAML subtlety.
        if _plain(self.path, text) != merged(self._given, changes):
            raise ConfigurationError(self.path, "the change cannot be written into this file; make it with an editor.")
        _replace(self.path, text)
        self.exists = True
        self._given = merged(self._given, changes)
        self._values = values
        logger.info("configuration written", extra={"path": str(self.path)})


def in_force() -> tuple[DocEXConfig, Settings | None]:
    """The configuration and its checked values; None without a file. Read anew when the file has changed.

    :raises ConfigurationError: it cannot be used.
    """
    path = config_path()
    try:
        found = path.stat()
    except OSError:
        return DocEXConfig(path), None
    seen = (found.st_ino, found.st_mtime_ns, found.st_size, found.st_ctime_ns)
    known = _in_force.get(path)
    if known is None or known[0] != seen:
        config = DocEXConfig(path)
        if not config.exists:
            return config, None
        known = _in_force[path] = (seen, config, config.validate())
    return known[1], known[2]


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ConfigurationDamaged(path, "it is not UTF-8 text.") from error
    except OSError as error:
        raise ConfigurationDamaged(path, f"{error.strerror}.") from error


def _plain(path: Path, text: str) -> dict[str, Any]:
    """The text's values, with the sections spelled one way and empty ones left out."""
    try:
        values = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        # A duplicate key is reported by the parser with both values, and the key may be a password's.
        problem = (error.problem or "it is not YAML").partition(" with value ")[0]
        raise ConfigurationDamaged(path, f"{where}{problem}.") from None
    except (YAMLError, ValueError) as error:
        raise ConfigurationDamaged(path, "it is not YAML.") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigurationDamaged(path, f"it must hold sections such as 'database:', not {type(values).__name__}.")
    return _spelled(path, values)


def _spelled(path: Path, values: Mapping[Any, Any]) -> dict[str, Any]:
    """A plain copy without empty sections; a block ``database.postgresql`` is one named ``database.postgres``."""
    copied = {
        str(key): copy.deepcopy(value) for key, value in values.items() if value is not None or key not in SECTIONS
    }
    for name in SECTIONS:
        if not isinstance(copied.get(name, {}), Mapping):
            raise ConfigurationError(path, f"{name}: expected keys and values.")
    database = copied.get("database")
    if database is not None:
        database = copied["database"] = dict(database)
        if "postgresql" in database:
            database["postgres"] = {**(database.get("postgres") or {}), **(database.pop("postgresql") or {})}
        for block in [name for name in ("sqlite", "postgres") if name in database and database[name] is None]:
            del database[block]
    return copied


def _report_unknown(path: Path, values: dict[str, Any]) -> None:
    unknown = unknown_keys(values)
    if unknown and (path, *unknown) not in _reported:
        _reported.add((path, *unknown))
        logger.warning("%s: unknown keys have no effect: %s", path, ", ".join(unknown))


def _checked(where: str, values: Mapping[str, Any]) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        # Without the cause: pydantic keeps the rejected values in it.
        raise ConfigurationError(where, f"{problems(error)}.") from None


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The base with the other's values put over it, mapping by mapping."""
    result = {key: copy.deepcopy(value) for key, value in base.items()}
    for key, value in over.items():
        held = result.get(key)
        if isinstance(held, Mapping) and isinstance(value, Mapping):
            result[key] = merged(held, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _edited(text: str | None, changes: Mapping[str, Any]) -> str:
    """The text with the changes made in it, comments and the order of its keys kept."""
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 4096  # no line is folded
    tree = editor.load(text) if text else None
    if tree is None:
        text = (text or "").strip() or HEADER
        start = io.StringIO()
        editor.dump(dict(changes), start)
        return f"{text.rstrip()}\n{start.getvalue()}"
    database = tree.get("database")
    if isinstance(database, MutableMapping) and "postgresql" in database and "postgres" in changes.get("database", {}):
        changes = {**changes, "database": {**changes["database"]}}
        changes["database"]["postgresql"] = changes["database"].pop("postgres")
    _put(tree, changes)
    out = io.StringIO()
    editor.dump(tree, out)
    return out.getvalue()


def _put(tree: MutableMapping[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), MutableMapping):
            _put(tree[key], value)
        elif key not in tree or tree[key] != value:
            tree[key] = copy.deepcopy(value)


def _replace(path: Path, text: str) -> None:
    """Write the file whole or not at all, readable by its owner only."""
    target = path.resolve()  # the file a symbolic link points at, not the link
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise ConfigurationError(path, f"cannot be written: {error.strerror}.") from error
