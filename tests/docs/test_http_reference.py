"""The HTTP reference says what the OpenAPI document says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_reference_is_that_of_the_document() -> None:
    script = str(ROOT / "scripts" / "http_reference.py")
    ended = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False, timeout=120, cwd=ROOT / "docs"
    )
    assert ended.returncode == 0, ended.stderr
