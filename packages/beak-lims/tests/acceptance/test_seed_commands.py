"""Seeds and modules from the command line: what is chosen at provisioning, and one outcome for each tenant."""

from __future__ import annotations

from pathlib import Path

from .conftest import Query, Shell, tenancy_of


def test_what_is_chosen_at_provisioning_is_there_and_wrong_choices_write_nothing(platform: Shell, query: Query) -> None:
    provision = "beak-lims tenant provision --name P --slug p"
    said = platform.refused(f"{provision} --seed core,everything")
    assert said == "Invalid seed scope(s): everything. Allowed scopes: core, clinical."
    assert platform.refused(f"{provision} --enable-module zoo").startswith("Unknown module(s): zoo.")
    both = platform(f"{provision} --seed core --no-seed")
    assert (both.returncode, "Use either --no-seed or --seed, not both." in both.stderr) == (2, True)
    assert query("SELECT count(*) FROM platform.tenant") == [(0,)]
    platform.ok(f"{provision} --seed core,clinical --industry pharma --enable-module research")
    assert query("SELECT (SELECT count(*) FROM org_p.analysis), (SELECT count(*) FROM org_p.organism)") == [(47, 62)]
    assert platform.ok("beak-lims tenant modules --slug p") == "pharma\tprimary\ncore\tenabled\nresearch\tenabled\n"
    told = platform("beak-lims seed all --tenant-slug p")
    assert (told.returncode, "p: Organisms.txt: 62 rows, " in told.stderr) == (0, True)
    assert told.stdout.startswith("p\tseeded\tnothing to do\n")
    refused = platform.refused("beak-lims seed industry --module clinical --tenant-slug p")
    assert refused == "Module 'clinical' is not enabled for tenant 'p'"


def test_without_a_tenant_each_active_one_has_its_outcome(one: Shell, query: Query, tmp_path: Path) -> None:
    with tenancy_of(one) as tenancy:
        tenancy.provision("two", name="Two")
    query("ALTER TABLE org_one.breakpoint RENAME TO mislaid")
    done = one("beak-lims seed microbiology")
    assert done.returncode == 1
    assert done.stdout.splitlines()[:2] == ["one\tfailed", "two\tseeded\t622 changes"]
    assert "error: one: " in done.stderr
    assert "two: Breakpoints.txt: 273 rows, " in done.stderr
    assert query("SELECT count(*) FROM org_one.organism") == [(0,)]
    assert query("SELECT count(*) FROM org_two.organism") == [(62,)]
    again = one.ok("beak-lims seed microbiology", DEFAULT_TENANT_SLUG="two")
    assert again.splitlines()[0] == "two\tseeded\tnothing to do"
    refused = one.refused(f"beak-lims seed microbiology --tenant-slug two --from {tmp_path}/nowhere")
    assert "cannot be read as a directory" in refused
