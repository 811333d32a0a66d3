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

    def call(*arguments: str, answers: str | None = None) -> Result:
        return CliRunner().invoke(commands, arguments, input=answers)

    return call


def test_each_scope_counts_what_it_renewed(bench: Bench, call: Call) -> None:
    bench.register(("pot",))
    expected = {
        "patients": ("patient",),
        "analysis-requests": ("analysis_request",),
        "samples": ("sample", "analysis_result"),
        "analyses": ("analysis_result",),
        "refresh-all": ("sample", "analysis_result", "analysis_request"),
    }
    for command, subjects in expected.items():
        done = call(command, "--tenant-slug", "alpha")  # no laboratory is named, so all are meant
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


def test_hard_refresh_tells_what_it_touches_and_can_be_taken_back(bench: Bench, call: Call) -> None:
    made = bench.approved(pot="4.5")
    where = ("--tenant-slug", "alpha", "--lab", bench.laboratory_uid)
    told = call("hard-refresh", *where)  # nobody is there to be asked
    assert told.exit_code == 0, told.output
    assert re.search(r"sample \d+\s+analysis_result \d+\s+analysis_request \d+\s+published \d+", told.stderr)
    before = bench.result(made.results[0].uid).snapshot_version
    with bench.at_work(None) as (session, _):
        session.connection().exec_driver_sql(
            "UPDATE specification SET max = 4.2 WHERE analysis_uid = %s", (bench.uids["pot"],)
        )
    done = call("hard-refresh", *where, "--yes", "--reason", "Range of May")
    assert done.exit_code == 0, done.output
    assert bench.result(made.results[0].uid).snapshot_version == before + 1
    run = done.stdout.rstrip("\n").rpartition("run ")[2]
    shown = call("runs", "--tenant-slug", "alpha")
    assert shown.exit_code == 0, shown.exception
    listed = shown.stdout.splitlines()[0].split("\t")
    assert (listed[0], listed[2], listed[5]) == (run, "hard_refresh", "Range of May")
    undone = call("revert", run, "--tenant-slug", "alpha", "--reason", "It was right")
    assert undone.exit_code == 0, undone.output
    assert re.match(r"alpha\treverted [1-9]\d*\tleft 0\trun ", undone.stdout)
    assert bench.result(made.results[0].uid).snapshot_version == before + 2


def test_hard_refresh_asks_at_a_terminal(bench: Bench, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bench.approved(glu="4.5")
    where = ("--tenant-slug", "alpha", "--lab", "First")
    monkeypatch.setattr("beak_lims.commands.snapshotting.at_a_terminal", lambda: True)
    with bench.at_work(None) as (session, _):
        session.connection().exec_driver_sql(
            "UPDATE analysis SET description = 'x' WHERE uid = %s", (bench.uids["glu"],)
        )
    refused = call("hard-refresh", *where, answers="n\n")
    assert (refused.exit_code, "run" in refused.stdout) == (1, False)
    assert "Renew all these?" in refused.stderr
    assert bench.result(made.results[0].uid).snapshot_version == 1
    assert call("hard-refresh", *where, answers="y\nNew words\n").exit_code == 0
    assert bench.result(made.results[0].uid).snapshot_version == 2
    listed = call("runs", "--tenant-slug", "alpha").stdout.splitlines()[0].split("\t")
    assert (listed[2], listed[5]) == ("hard_refresh", "New words")
    assert call("hard-refresh", *where, "--yes").exit_code == 0


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
