"""The command line itself: help for everything, quick to start, lists for machines, passwords told once."""

from __future__ import annotations

import json
import resource
from typing import Any

import pytest
import typer

from beak_lims.cli import app

from .conftest import Query, Shell

START_UP = 0.5  # seconds
START_UP_RATIO = 1.2  # to loading the libraries alone
HEAVY = ("sqlalchemy", "alembic", "psycopg", "argon2", "platformdirs")  # pydantic is Typer's own


def commands_below(command: Any, path: str) -> dict[str, str]:
    """Every command below one, with its help."""
    below = getattr(command, "commands", {})
    if not below:
        return {path: command.help or ""}
    return {name: text for key, each in below.items() for name, text in commands_below(each, f"{path} {key}").items()}


def test_every_command_has_help() -> None:
    found = commands_below(typer.main.get_command(app), "beak-lims")
    tenant = ("provision", "list", "show", "migrate", "activate", "cleanup", "add-lab", "add-admin")
    database = ("upgrade", "downgrade", "revision", "current", "history", "start", "stop")
    user = ("add", "list", "disable", "enable", "role", "reset-password")
    platform = (*(f"user {name}" for name in user), "session list", "session revoke", "key list", "key rotate")
    groups = {"tenant": tenant, "db": database, "platform": platform, "audit": ("verify", "export")}
    expected = {f"beak-lims {group} {name}" for group, names in groups.items() for name in names}
    assert {*expected, "beak-lims seed platform-superuser", "beak-lims server run", "beak-lims doctor"} <= set(found)
    assert all(found.values())


def test_help_imports_nothing_heavy(bare_shell: Shell) -> None:
    done = bare_shell("beak-lims tenant provision --help", PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "beak_lims.cli" in imported
    assert not imported & set(HEAVY)


def test_listing_tenants_is_quick_when_the_embedded_server_is_up(embedded_shell: Shell) -> None:
    embedded_shell.ok("beak-lims db upgrade")
    embedded_shell.ok("beak-lims tenant provision --name One --slug one")
    embedded_shell.freshly = True
    # Measured beside what Python needs to load the libraries: a busy machine slows both.
    libraries = "python -c 'import typer, pydantic_settings, psycopg, sqlalchemy.orm'"
    took = {libraries: 60.0, "beak-lims tenant list": 60.0}
    for command in list(took) * 3:
        took[command] = min(took[command], seconds(embedded_shell, command))
    assert took["beak-lims tenant list"] < max(START_UP, START_UP_RATIO * took[libraries]), took


def seconds(shell: Shell, command: str) -> float:
    """Processor time that a command takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    shell.ok(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_lists_are_json_on_request(platform: Shell) -> None:
    assert json.loads(platform.ok("beak-lims tenant list --json")) == []
    platform.ok("beak-lims tenant provision --name One --slug one --admin-email a@one.example")
    (found,) = json.loads(platform.ok("beak-lims tenant list --status all --json"))
    assert (found["slug"], found["name"], found["status"]) == ("one", "One", "active")
    assert found["admin_email"] == "a@one.example"
    assert json.loads(platform.ok("beak-lims tenant show --slug one --json"))["slug"] == "one"


def test_generated_password_of_the_platforms_administrator_is_told_once(platform: Shell, query: Query) -> None:
    password = platform.ok("beak-lims seed platform-superuser").split("Password: ")[1].strip()
    rows = query("SELECT u::text FROM platform.platform_user u")
    assert len(rows) == 1
    assert password not in str(rows)
    assert "$argon2id$" in str(rows)
    assert query("SELECT name FROM platform.platform_role ORDER BY name") == [
        (role,) for role in ("administrator", "billing", "provisioner", "support")
    ]


@pytest.mark.parametrize("way", ["options", "environment", "file"])
def test_platforms_administrator_is_made_from(way: str, platform: Shell, query: Query) -> None:
    values = {"EMAIL": "Boss@lims.example", "USERNAME": "boss", "PASSWORD": "Quite-good-1-secret"}
    command, environment = "beak-lims seed platform-superuser", {}
    if way == "options":
        command += "".join(f" --{name.lower()} {value}" for name, value in values.items())
    else:
        environment = {f"PLATFORM_SUPERUSER_{name}": value for name, value in values.items()}
    if way == "file":
        (platform.directory / ".env").write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
        environment = {}
    for _ in range(2):
        said = platform.ok(command, **environment)
        assert "Quite-good-1-secret" not in said
    assert query("SELECT email, username, is_active FROM platform.platform_user") == [
        ("boss@lims.example", "boss", True)
    ]


def test_weak_password_is_refused_without_showing_it(platform: Shell, query: Query) -> None:
    assert "short" not in platform.refused("beak-lims seed platform-superuser --password short")
    assert query("SELECT count(*) FROM platform.platform_user") == [(0,)]


def test_command_without_administrator_says_how_to_make_one(platform: Shell) -> None:
    done = platform("beak-lims tenant provision --name One --slug one")
    assert "beak-lims tenant add-admin --slug one --email ADDRESS" in done.stderr
    assert "One-time password: " in platform.ok("beak-lims tenant add-admin --slug one --email a@one.example")


def test_wrong_usage_exits_2(bare_shell: Shell) -> None:
    for command in ("tenant provision --slug one", "tenant migrate", "tenant list --status odd", "nonsense"):
        assert bare_shell(f"beak-lims {command}").returncode == 2
