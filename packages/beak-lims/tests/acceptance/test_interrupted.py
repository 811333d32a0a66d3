"""A provisioning killed at any step leaves nothing half-made, and `tenant migrate` finishes it."""

from __future__ import annotations

import pytest

from .conftest import ROLES, Query, Shell

STEPS = ("reserve", "create", "migrate", "seed", "verify", "activate")
# Each in a process of its own, which is killed; they begin as copies of one that has loaded the libraries.
KILLED_AT = """
import os, signal, sys
from beak_lims.tenancy import tenancy

def kill(slug, step):
    if step == slug:
        os.kill(os.getpid(), signal.SIGKILL)

for step in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        tenancy().observe(kill)
        tenancy().provision(step, name="One", admin_email="a@one.example", options={"initial_lab_name": "First"})
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(step, os.WTERMSIG(status) == signal.SIGKILL)
"""


@pytest.fixture
def killed(platform: Shell) -> Shell:
    """A shell whose database had a provisioning killed at every step, of a tenant called like the step."""
    (platform.directory / "killed_at.py").write_text(KILLED_AT)
    said = platform.ok(f"python killed_at.py {' '.join(STEPS)}")
    assert said.split() == [word for step in STEPS for word in (step, "True")]
    return platform


def test_migrate_finishes_a_provisioning_killed_at_any_step(killed: Shell, query: Query) -> None:
    begun = sorted(STEPS[1:])  # nothing is known of one that was killed before its record
    assert query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'org\\_%'") == []
    for step in STEPS:
        assert query(ROLES, f"org_{step}%") == []
    listed = killed.ok("beak-lims tenant list --status all").splitlines()
    assert [line.split("\t")[:3] for line in listed] == [[step, f"org_{step}", "provisioning"] for step in begun]
    said = killed.refused("beak-lims tenant provision --name One --slug seed")  # it is not provisioned anew, but named
    assert said.startswith("Tenant slug 'seed' already exists (status=provisioning)")
    assert "tenant migrate --slug seed" in said

    for step in begun:
        finished = killed.ok(f"beak-lims tenant migrate --slug {step}")
        assert f"{step} -> org_{step}" in finished
        assert "One-time password: " in finished
        assert query(f"SELECT name FROM org_{step}.laboratory") == [("First",)]
        assert query(f'SELECT email FROM org_{step}."user"') == [("a@one.example",)]
    killed.ok("beak-lims tenant provision --name One --slug reserve")
    assert query("SELECT slug, status, error FROM platform.tenant ORDER BY slug") == [
        (step, "active", None) for step in sorted(STEPS)
    ]
