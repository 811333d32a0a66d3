"""A provisioning killed at any step leaves nothing half-made, and `tenant migrate` finishes it."""

from __future__ import annotations

import signal

import pytest

from .conftest import ROLES, Query, Shell

KILLED_AT = """
import os, signal, sys
from beak_lims.tenancy import tenancy

def kill(slug, step):
    if step == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

tenancy().observe(kill)
tenancy().provision("one", name="One", admin_email="a@one.example", options={"initial_lab_name": "First"})
"""


@pytest.fixture(autouse=True)
def script(shell: Shell) -> None:
    (shell.directory / "killed_at.py").write_text(KILLED_AT)


@pytest.mark.parametrize("step", ["create", "migrate", "seed", "verify", "activate"])
def test_migrate_finishes_a_provisioning_killed_at(step: str, platform: Shell, query: Query) -> None:
    killed = platform(f"exec python killed_at.py {step}")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert query("SELECT nspname FROM pg_namespace WHERE nspname = 'org_one'") == []
    assert query(ROLES, "org_one%") == []
    assert platform.ok("beak-lims tenant list --status all").startswith("one\torg_one\tprovisioning")

    finished = platform.ok("beak-lims tenant migrate --slug one")
    assert "one -> org_one" in finished
    assert "One-time password: " in finished
    assert query("SELECT status, error FROM platform.tenant") == [("active", None)]
    assert query("SELECT name FROM org_one.laboratory") == [("First",)]
    assert query('SELECT email FROM org_one."user"') == [("a@one.example",)]


def test_nothing_is_left_of_a_provisioning_killed_before_its_record(platform: Shell, query: Query) -> None:
    assert platform("exec python killed_at.py reserve").returncode == -signal.SIGKILL
    assert query("SELECT count(*) FROM platform.tenant") == [(0,)]
    platform.ok("beak-lims tenant provision --name One --slug one")


def test_interrupted_tenant_is_not_provisioned_anew_but_named(platform: Shell) -> None:
    platform("exec python killed_at.py seed")
    said = platform.refused("beak-lims tenant provision --name One --slug one")
    assert said.startswith("Tenant slug 'one' already exists (status=provisioning)")
    assert "tenant migrate --slug one" in said
