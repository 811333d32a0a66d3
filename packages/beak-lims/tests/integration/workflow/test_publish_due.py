"""`publish-due`: what is approved is published with its report, once, and nothing else."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
import typer
from typer.testing import CliRunner

from beak_lims.commands import publishing
from beak_lims.models import ReportImpress

from .conftest import Bench


def test_every_approved_sample_is_published_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEFAULT_TENANT_SLUG", raising=False)
    monkeypatch.setattr(bench.installation.tenancy, "close", lambda: None)  # the installation's outlives a command
    monkeypatch.setattr(publishing, "BATCH", 2)
    app = typer.Typer()
    publishing.add_publishing(app, lambda: bench.installation.tenancy)
    approved = [bench.approved(pot=value).samples[0].uid for value in ("4.1", "4.2", "4.3")]
    pending = bench.register(("pot",)).samples[0].uid
    done = CliRunner().invoke(app, ["--tenant-slug", "alpha"])
    assert (done.exit_code, done.stdout) == (0, "alpha\tpublished 3\n"), done.output
    assert [bench.sample(uid).status for uid in (*approved, pending)] == ["published"] * 3 + ["received"]
    with bench.at_work() as (session, _):
        of_these = sa.select(ReportImpress.sample_uid).where(ReportImpress.sample_uid.in_(approved))
        assert sorted(session.scalars(of_these)) == sorted(approved)
    done = CliRunner().invoke(app, [])
    assert done.stdout.splitlines() == ["alpha\tpublished 0", "beta\tpublished 0"]
