"""Every test that the table of threats names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "platform-securing.md"


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", PAGE.read_text())
    assert len(named) > 25
    for file, test in named:
        found = list((ROOT / "packages").rglob(f"tests/**/{file}"))
        assert found, file
        assert not test or any(f"def {test}(" in path.read_text() for path in found), (file, test)


def test_every_abbreviated_test_exists() -> None:
    for abbreviated in re.findall(r"`\.\.\.(\w+)`", PAGE.read_text()):
        assert any(
            re.search(rf"def test_\w*{abbreviated}\(", path.read_text())
            for path in (ROOT / "packages").rglob("test_http_*.py")
        ), abbreviated
