"""House rules that no reviewer can hold in mind, checked over all three packages."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"tenantry": "tenantry", "beak-lims": "beak_lims", "docex": "docex"}
SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder, name in PACKAGES.items()
    for path in (ROOT / "packages" / folder / "src" / name).rglob("*.py")
)
MODULES = [source for source in SOURCES if "/migrations/versions/" not in source and not source.endswith("/env.py")]
MAX_LINES = 600
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "common", "misc", "manager"}


@pytest.mark.parametrize("folder", PACKAGES)
def test_a_package_says_what_it_is(folder: str) -> None:
    project = tomllib.loads((ROOT / "packages" / folder / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert project["requires-python"] == ">=3.11"
    assert (ROOT / "packages" / folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert (ROOT / "packages" / folder / "src" / PACKAGES[folder] / "py.typed").exists()


def test_all_packages_are_of_one_version() -> None:
    versions = {
        tomllib.loads((ROOT / "packages" / folder / "pyproject.toml").read_text())["project"]["version"]
        for folder in PACKAGES
    }
    [version] = versions
    assert f"## {version} " in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("command", ["tenantry", "beak-lims", "docex"])
def test_the_command_is_installed(command: str) -> None:
    [script] = entry_points(group="console_scripts", name=command)
    assert callable(script.load())
    assert shutil.which(command, path=str(Path(sys.executable).parent))


def test_constraints_are_plain_versions() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []


def test_every_dependency_is_pinned() -> None:
    def normal(requirement: str) -> str:
        found = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert found is not None
        return re.sub(r"[-_.]+", "-", found[0]).lower()

    pinned = {normal(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    wanted = {normal(line) for line in (ROOT / "requirements-dev.txt").read_text().splitlines() if line[:1].isalpha()}
    for folder in PACKAGES:
        project = tomllib.loads((ROOT / "packages" / folder / "pyproject.toml").read_text())["project"]
        for requirements in (project["dependencies"], *project.get("optional-dependencies", {}).values()):
            wanted |= {normal(requirement) for requirement in requirements}
    assert wanted - pinned == {"tenantry"}


@pytest.mark.parametrize("source", MODULES)
def test_a_module_is_named_opened_and_sized_as_agreed(source: str) -> None:
    path = ROOT / source
    text = path.read_text()
    assert path.stem not in NAMES_THAT_SAY_NOTHING
    assert text.count("\n") < MAX_LINES
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "a module opens with its promise and its limit"


@pytest.mark.parametrize("name", ["tenantry", "tenantry.cli", "beak_lims", "docex"])
def test_every_public_name_can_be_imported(name: str) -> None:
    module = importlib.import_module(name)
    public = getattr(module, "__all__", ())
    assert len(set(public)) == len(public)
    for attribute in public:
        assert getattr(module, attribute) is not None
