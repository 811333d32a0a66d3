"""The `snapshot` commands: what they take, what they print, and what they refuse to do unasked."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from click.testing import Result
from typer.testing import CliRunner

from beak_lims.commands.snapshotting import snapshot_commands
from beak_lims.errors import ChangeRefused, RecordNotFound
from tenantry.errors import TenantNotFound

from .conftest import Bench

Call = Callable[..., Result]


@pytest.fixture
def call(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.delenv("DEFAULT_TENANT_SLUG", raising=False)
    monkeypatch.setattr(bench.installation.tenancy, "close", lambda: None)  # the installation's outlives a command
    commands = snapshot_commands(lambda: bench.installation.tenancy)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(commands, arguments)

    return call


def test_each_scope_counts_what_it_renewed(bench: Bench, call: Call) -> None:
    bench.register(("pot",))
    expected = {
        "patients": ("patient",),
        "analysis-requests": ("analysis_request",),
        "samples": ("sample", "analysis_result"),
        "analyses": ("analysis_result",),
        "refresh-all": ("analysis_request", "sample", "analysis_result"),
    }
    for command, subjects in expected.items():
        done = call(command, "--tenant-slug", "alpha", "--lab", "First")
        assert done.exit_code == 0, done.output
        slug, *counts, run = done.stdout.rstrip("\n").split("\t")
        assert slug == "alpha"
        assert tuple(count.split()[0] for count in counts) == subjects
        assert all(re.fullmatch(r"\w+ \d+ of [1-9]\d*", count) for count in counts), counts
        assert re.fullmatch(r"run [0-9a-f]{32}", run)


def test_without_a_tenant_every_active_one_has_its_outcome(call: Call) -> None:
    done = call("refresh-all")
    assert done.exit_code == 0, done.output
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["alpha", "beta"]


def test_hard_refresh_asks_for_a_reason_and_for_leave(bench: Bench, call: Call) -> None:
    made = bench.approved(pot="4.5")
    where = ("--tenant-slug", "alpha", "--lab", bench.laboratory_uid)
    refused = call("hard-refresh", *where, "--yes")
    assert (refused.exit_code, "--reason" in refused.output) == (2, True)
    refused = call("hard-refresh", *where, "--reason", "Range of May")
    assert (refused.exit_code, "--yes" in refused.output) == (2, True)
    assert re.search(r"analysis_request \d+\s+sample \d+\s+analysis_result \d+\s+published \d+", refused.stderr)
    assert bench.result(made.results[0].uid).snapshot_version == 1
    with bench.at_work(None) as (session, _):
        session.connection().exec_driver_sql(
            "UPDATE specification SET max = 4.2 WHERE analysis_uid = %s", (bench.uids["pot"],)
        )
    done = call("hard-refresh", *where, "--yes", "--reason", "Range of May")
    assert done.exit_code == 0, done.output
    assert bench.result(made.results[0].uid).snapshot_version == 2
    run = done.stdout.rstrip("\n").rpartition("run ")[2]
    shown = call("runs", "--tenant-slug", "alpha")
    assert shown.exit_code == 0, shown.exception
    listed = shown.stdout.splitlines()[0].split("\t")
    assert (listed[0], listed[2], listed[5]) == (run, "hard_refresh", "Range of May")
    undone = call("revert", run, "--tenant-slug", "alpha", "--reason", "It was right")
    assert undone.exit_code == 0, undone.output
    assert re.match(r"alpha\treverted [1-9]\d*\tleft 0\trun ", undone.stdout)
    assert bench.result(made.results[0].uid).snapshot_version == 3


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("samples", "--tenant-slug", "nobody"), TenantNotFound),
        (("samples", "--tenant-slug", "alpha", "--lab", "Nowhere"), RecordNotFound),
        (("revert", "0" * 32, "--tenant-slug", "alpha", "--reason", "x"), ChangeRefused),
    ],
)
def test_what_is_not_there_is_refused(call: Call, arguments: tuple[str, ...], error: type[Exception]) -> None:
    assert isinstance(call(*arguments).exception, error)
