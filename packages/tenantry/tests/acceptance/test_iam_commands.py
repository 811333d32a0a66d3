"""``platform`` and ``audit`` as they are typed, on the example application."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

NOTES = Path(__file__).parents[4] / "examples" / "notes"
PASSWORD = "Tall-Giraffe-42"


@pytest.fixture
def shell(tmp_path: Path):
    """Run a command of the example application in a directory of its own."""
    directory = tmp_path / "notes"
    shutil.copytree(NOTES, directory, ignore=shutil.ignore_patterns("__pycache__", "data"))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("TENANTRY_", "NOTES_", "SECRET"))},
        "TENANTRY_HOME": str(tmp_path / "home"),
        "HOME": str(tmp_path),
    }

    def run(*arguments: str, given: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [Path(os.environ.get("COMMANDS", Path(sys.executable).parent), "tenantry"), *arguments],
            cwd=directory,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    run.directory, run.home = directory, tmp_path / "home"
    run("db", "upgrade")
    return run


def test_users_are_made_listed_changed_and_disabled(shell) -> None:
    added = shell("platform", "user", "add", "--email", "Ann@example.org", "--role", "administrator")
    assert added.stdout.startswith("Created platform user: ann@example.org (user name ann, roles administrator)\n")
    password = re.search(r"^Password: (\S+)$", added.stdout, re.MULTILINE)[1]
    assert "only once" in added.stderr
    chosen = shell("platform", "user", "add", "--email", "bob@example.org", "--password-stdin", given=f"{PASSWORD}\n")
    assert "Password" not in chosen.stdout + chosen.stderr
    assert shell("platform", "user", "list").stdout.splitlines() == [
        "ann@example.org\tann\tadministrator\tactive",
        "bob@example.org\tbob\t-\tactive",
    ]
    assert shell("platform", "user", "role", "bob", "support", "billing").stdout == (
        "Roles of bob@example.org: billing, support\n"
    )
    assert shell("platform", "user", "disable", "BOB@example.org").stdout == "Disabled platform user: bob@example.org\n"
    assert shell("platform", "user", "list", "--status", "disabled").stdout.startswith("bob@example.org")
    shell("platform", "user", "enable", "bob")
    shell("platform", "user", "role", "bob", "--none")
    reset = shell("platform", "user", "reset-password", "bob")
    assert re.fullmatch(r"New password of platform user: bob@example\.org\nPassword: \S{20}\n", reset.stdout)
    (bob,) = [
        user for user in json.loads(shell("platform", "user", "list", "--json").stdout) if user["username"] == "bob"
    ]
    assert (bob["roles"], bob["is_active"]) == ([], True)
    exported = shell("audit", "export").stdout
    assert [json.loads(line)["action"] for line in exported.splitlines()] == [
        *["user.add"] * 2,
        "user.roles",
        "user.disable",
        "user.enable",
        "user.roles",
        "user.password",
    ]
    assert password not in exported
    assert PASSWORD not in exported


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["user", "disable", "ann"], "'ann' is the last active administrator"),
        (["user", "role", "ann", "--none"], "'ann' is the last active administrator"),
        (["user", "disable", "nobody"], "There is no platform user 'nobody'"),
        (["user", "add", "--email", "ann@example.org"], "belongs to another platform user"),
        (["user", "add", "--email", "x"], "is not an email address"),
        (["session", "revoke", "f" * 32], "There is no platform session"),
        (["session", "list", "nobody"], "There is no platform user"),
    ],
)
def test_refusal_is_one_line_and_changes_nothing(shell, arguments, said) -> None:
    shell("platform", "user", "add", "--email", "ann@example.org", "--role", "administrator")
    before = shell("platform", "user", "list", "--json").stdout
    refused = shell("platform", *arguments, code=1)
    assert refused.stdout == ""
    assert refused.stderr.startswith("error: ")
    assert said in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert shell("platform", "user", "list", "--json").stdout == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["platform", "user", "role", "ann"],
        ["platform", "user", "role", "ann", "support", "--none"],
        ["platform", "user", "role", "ann", "god"],
        ["platform", "session", "revoke"],
        ["platform", "session", "revoke", "x", "--user", "ann"],
        ["audit", "verify", "--anchor", "7"],
        ["audit", "export", "--after", "-1"],
    ],
)
def test_wrong_usage_ends_with_two(shell, arguments) -> None:
    shell(*arguments, code=2)


def test_bad_password_on_stdin_is_refused_without_repeating_it(shell) -> None:
    refused = shell(
        "platform", "user", "add", "--email", "ann@example.org", "--password-stdin", given="hidden1\n", code=1
    )
    assert "hidden1" not in refused.stdout + refused.stderr
    assert shell("platform", "user", "list").stderr == "No platform users found.\n"


def test_sessions_and_keys_are_listed_and_ended(shell) -> None:
    shell("platform", "user", "add", "--email", "ann@example.org", "--password-stdin", given=f"{PASSWORD}\n")
    assert shell("platform", "session", "list").stderr == "No open sessions found.\n"
    assert "No signing key yet" in shell("platform", "key", "list").stderr
    login = (
        "from notes import tenancy\n"
        f"for n in range(3): tenancy.iam.login('ann', '{PASSWORD}', address=f'10.0.0.{{n}}')\n"
        "tenancy.close()"
    )
    environment = {**os.environ, "TENANTRY_HOME": str(shell.home)}
    subprocess.run([sys.executable, "-c", login], cwd=shell.directory, env=environment, check=True)
    sessions = json.loads(shell("platform", "session", "list", "--json").stdout)
    assert [(session["user"], session["address"]) for session in sessions] == [
        ("ann@example.org", f"10.0.0.{n}") for n in (2, 1, 0)
    ]
    shell("platform", "session", "revoke", sessions[0]["uid"])
    assert len(shell("platform", "session", "list", "ann").stdout.splitlines()) == 2
    assert shell("platform", "session", "revoke", "--user", "ann").stdout == "Revoked 2 sessions of ann@example.org\n"
    assert shell("platform", "session", "list", "--all").stdout.count("(revoked)") == 3
    shell("platform", "key", "rotate")
    shell("platform", "key", "rotate", "--at-once")
    keys = json.loads(shell("platform", "key", "list", "--json").stdout)
    assert [key["retires_at"] is None for key in keys] == [True, False, False]
    assert set(keys[0]) == {"kid", "created_at", "retires_at"}


def test_verification_ends_with_one_when_a_row_was_changed(shell) -> None:
    for name in ("ann", "bob"):
        shell("platform", "user", "add", "--email", f"{name}@example.org")
    whole = shell("audit", "verify")
    assert whole.stderr == "The audit trail is whole: 2 rows.\n"
    head = re.fullmatch(r"Head: (2:[0-9a-f]{64})\n", whole.stdout)[1]
    shell("tenant", "provision", "--slug", "acme")
    shell("audit", "verify", "--anchor", head)
    shell("audit", "verify", "--anchor", f"2:{'f' * 64}", code=1)
    (registry,) = shell.directory.rglob("registry.db")
    connection = sqlite3.connect(registry)
    connection.execute("UPDATE audit SET actor = 'nobody' WHERE sequence = 2")
    connection.commit()
    connection.close()
    broken = shell("audit", "verify", code=1)
    assert broken.stdout.startswith("The content of row 2 is not what was written.\nHead: 3:")
    assert broken.stderr == "The audit trail is NOT whole (3 rows read).\n"
    report = json.loads(shell("audit", "verify", "--json", code=1).stdout)
    assert [fault["sequence"] for fault in report["faults"]] == [2]
    exported = shell("audit", "export", "--slug", "acme").stdout.splitlines()
    assert [json.loads(line)["action"] for line in exported] == ["tenant.provision"]


def test_commands_without_a_registry_say_what_to_do(shell, tmp_path) -> None:
    for path in shell.directory.rglob("registry.db*"):
        path.unlink()
    for arguments in (
        ["platform", "user", "list"],
        ["audit", "verify"],
        ["audit", "export"],
        ["platform", "key", "list"],
    ):
        assert "Run `db upgrade` first." in shell(*arguments, code=1).stderr
    assert not list(shell.directory.rglob("registry.db"))


def test_help_loads_neither_the_database_nor_what_tokens_need(shell) -> None:
    code = (
        "import sys, tenantry.cli.__main__ as m\n"
        "sys.argv = ['tenantry', 'platform', 'user', 'add', '--help']\n"
        "try: m.main()\n"
        "except SystemExit: pass\n"
        "sys.exit(str(sorted({'sqlalchemy', 'argon2', 'jwt', 'limits', 'platformdirs'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"


def test_listing_tenants_loads_nothing_of_the_platforms_people(shell) -> None:
    code = (
        "import sys; from notes import tenancy\n"
        "tenancy.list()\n"
        "tenancy.close()\n"
        "sys.exit(str(sorted({'argon2', 'jwt', 'limits', 'tenantry.iam.iam'} & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=shell.directory, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "[]"
