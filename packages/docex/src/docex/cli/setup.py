"""``init``: write the configuration file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class DatabaseType(StrEnum):
    """Which database."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


class LogLevel(StrEnum):
    """From which level log records are written to the log file."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


def init(
    config: Annotated[
        Path | None, typer.Option(help="Take the values from this YAML file; options come over it.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing configuration file, and nothing else.")
    ] = False,
    db_type: Annotated[DatabaseType | None, typer.Option(help="Which database. Default: sqlite.")] = None,
    db_path: Annotated[str | None, typer.Option(help="SQLite: the file.")] = None,
    db_host: Annotated[str | None, typer.Option(help="PostgreSQL: the server.")] = None,
    db_port: Annotated[int | None, typer.Option(help="PostgreSQL: its port.")] = None,
    db_name: Annotated[str | None, typer.Option(help="PostgreSQL: the database.")] = None,
    db_user: Annotated[str | None, typer.Option(help="PostgreSQL: the user.")] = None,
    db_password: Annotated[
        str | None, typer.Option(envvar="DOCEX_DB_PASSWORD", help="PostgreSQL: the user's password.")
    ] = None,
    storage_path: Annotated[str | None, typer.Option(help="The directory of the documents' contents.")] = None,
    log_level: Annotated[LogLevel | None, typer.Option(case_sensitive=False, help="Level of the log file.")] = None,
) -> None:
    """Write the configuration file. Databases and documents are not touched.

    Example: docex init --db-type postgresql --db-host localhost --db-name docex_db --db-user docex
    """
    from docex.application import write_configuration
    from docex.config.docex_config import DocEXConfig, config_path, merged
    from docex.errors import ConfigurationError

    target = config_path()
    if target.exists() and not force:
        raise ConfigurationError(target, "it is there already. Nothing was changed; --force replaces it.")
    given: dict[str, dict[str, Any]] = {
        "database": {
            "type": db_type.value if db_type else None,
            "sqlite": {"path": db_path},
            "postgres": {
                "host": db_host,
                "port": db_port,
                "database": db_name,
                "user": db_user,
                "password": db_password,
            },
        },
        "storage": {"filesystem": {"path": storage_path}},
        "logging": {"level": log_level.value if log_level else None},
    }
    base = DocEXConfig(config) if config else DocEXConfig.anew()
    if config and not base.exists:
        raise ConfigurationError(config, "there is no such file.")
    write_configuration(DocEXConfig.anew(), merged(base.given(), _present(given)))
    print(f"✅ DocEX initialized: {target}")


def _present(values: dict[str, Any]) -> dict[str, Any]:
    """The values that were given."""
    kept = {key: _present(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: value for key, value in kept.items() if value not in (None, {})}
