"""Spans are there for applications that trace, and cost nothing in others."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from tenantry import Migrations, SqliteFiles, Tenancy
from tenantry.tracing import span


def test_nothing_is_loaded_where_nobody_traces() -> None:
    code = "import sys, tenantry.tracing as t\nwith t.span('x', 'acme'): pass\nprint('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_operations_and_their_steps_are_spans_with_the_tenant(tmp_path, monkeypatch) -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    seen: list[tuple[str, str]] = []

    class Recorder:
        @contextmanager
        def start_as_current_span(self, name, attributes):
            seen.append((name, attributes.get("tenant", "")))
            try:
                yield
            except ValueError:
                seen.append((f"{name} failed", attributes["tenant"]))
                raise

    monkeypatch.setattr(trace, "get_tracer", lambda name: Recorder())
    with span("by.hand", "acme"):
        pass
    (tmp_path / "m" / "versions").mkdir(parents=True)
    (tmp_path / "m" / "script.py.mako").write_text("")
    tenancy = Tenancy(SqliteFiles(tmp_path / "s", "{slug}.db"), Migrations(tmp_path / "m"))
    tenancy.initialize()
    tenancy.provision("acme")
    saved = tenancy.archive.backup("acme", to=tmp_path / "b")
    tenancy.archive.restore(saved.path, slug="bravo")
    with tenancy.session("acme") as session:
        session.execute(sa.text("SELECT 1"))
    with pytest.raises(ValueError, match="by the application"), tenancy.session("bravo"):
        raise ValueError("by the application")
    (tmp_path / "m" / "versions" / "one.py").write_text(
        "revision, down_revision = 'one', None\n\ndef upgrade():\n    pass\n"
    )
    later = Tenancy(SqliteFiles(tmp_path / "s", "{slug}.db"), Migrations(tmp_path / "m"))
    assert later.fleet.rollout().complete
    later.close()
    tenancy.close()
    names = [name for name, _ in seen]
    assert seen[0] == ("tenantry.by.hand", "acme")
    assert ("tenantry.backup", "acme") in seen
    assert ("tenantry.restore.rows", "bravo") in seen
    assert "tenantry.tenant.migrate" in names
    assert ("tenantry.session", "acme") in seen
    assert ("tenantry.session failed", "bravo") in seen
    assert ("tenantry.rollout", "") in seen
