"""`tenant migrate --all` and `rollout` as a person and a deploy type them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

NOTES = Path(__file__).parents[4] / "examples" / "notes"
COMMAND = str(Path(sys.executable).with_name("tenantry"))
REVISION = """
import time
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0004", "0003"
def upgrade():
    if op.get_bind().execute(sa.text("SELECT count(*) FROM notebook")).scalar():
        time.sleep(0.4)  # of the rows it reads: it runs as Python, tenant by tenant
    op.add_column("note", sa.Column("extra", sa.Integer()))
def downgrade():
    pass
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    shutil.copytree(NOTES, tmp_path / "notes", ignore=shutil.ignore_patterns("__pycache__"))
    run(tmp_path / "notes", "db", "upgrade")
    for number in range(5):
        run(tmp_path / "notes", "tenant", "provision", "--slug", f"acme{number}")
    return tmp_path / "notes"


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("NOTES_", "TENANTRY_"))}


def run(directory: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [COMMAND, *arguments], cwd=directory, env=environment(), capture_output=True, text=True, timeout=90, check=False
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended


def test_a_deploy_is_paused_by_a_signal_and_resumed(notes: Path) -> None:
    assert run(notes, "tenant", "migrate", "--all").stdout.startswith("Nothing to migrate: 5 tenants at 0003")
    (notes / "migrations" / "versions" / "0004_slow.py").write_text(REVISION)
    begun = subprocess.Popen(
        [COMMAND, "tenant", "migrate", "--all", "--jobs", "1"],
        cwd=notes,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert begun.stderr is not None
    assert "5 tenants." in begun.stderr.readline()
    begun.send_signal(signal.SIGTERM)
    out, err = begun.communicate(timeout=60)
    assert begun.returncode == 1
    assert "Pausing: the tenants in hand are finished." in err
    assert "paused" in out, err
    listed = json.loads(run(notes, "rollout", "list", "--json").stdout)
    assert [rollout["status"] for rollout in listed] == ["paused"]
    assert listed[0]["counts"]["pending"] >= 3
    resumed = json.loads(run(notes, "rollout", "resume", "--json").stdout)
    assert resumed["complete"] is True
    assert resumed["rollout"]["counts"] == {"done": 5}
    shown = run(notes, "rollout", "show").stdout
    assert "status: done" in shown
    assert shown.count("\tdone\t0003 -> 0004 ") == 5


def test_options_that_make_no_sense_together_are_wrong_usage(notes: Path) -> None:
    assert "--all for every one" in run(notes, "tenant", "migrate", code=2).stderr
    assert "--all for every one" in run(notes, "tenant", "migrate", "--all", "--slug", "acme1", code=2).stderr
    assert "go with --all" in run(notes, "tenant", "migrate", "--slug", "acme1", "--dry-run", code=2).stderr
    assert "such as 5, or 2%" in run(notes, "tenant", "migrate", "--all", "--max-failures", "some", code=1).stderr


def test_a_signal_in_the_middle_of_a_line_pauses_all_the_same(tmp_path: Path) -> None:
    """The stream that is being written to refuses a second writer, which the signal's handler would be."""
    script = """
import io, os, signal, sys
from tenantry.cli.fleet import watching

class Interrupted(io.RawIOBase):
    def writable(self):
        return True
    def write(self, text):
        os.kill(os.getpid(), signal.SIGTERM)
        return len(text)

with watching(as_json=True) as (watcher, stop):
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(Interrupted()), line_buffering=True)
    print("5 tenants.", file=sys.stderr)
    sys.stderr = sys.__stderr__
    print(stop())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n", done.stderr
    assert done.stderr.count("Pausing") == 1
