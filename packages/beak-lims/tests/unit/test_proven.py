"""Every test that the page of promises names is there, and every promise names one."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGES = Path(__file__).parents[3]
PAGE = PACKAGES.parent / "docs" / "beak-lims-proven.md"


def test_every_promise_names_tests_that_exist() -> None:
    rows = re.findall(r"^\| (?!promise|---)(.+?) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) > 40
    written = {path: path.read_text() for path in PACKAGES.glob("*/tests/**/test_*.py")}
    for promise, shown in rows:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", shown)
        assert shown == ", ".join(f"`{file}::{test}`" for file, test in named), promise
        for file, test in named:
            found = [text for path, text in written.items() if path.name == file and f"def {test}(" in text]
            assert found, (promise, file, test)
