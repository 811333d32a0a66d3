"""For the tests of all packages: the installed commands, started without loading their libraries every time.

``COMMANDS`` in the environment names a directory of launchers, to stand before everything in the PATH (see
``tests/commands``). Where the system has no ``pidfd`` there is none, and the installed scripts are run.
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "tests" / "commands"
NAMES = ("beak-lims", "docex", "tenantry")
USERS = ("acceptance", "docs")  # directories of tests that run commands

_servers: list[tuple[subprocess.Popen[bytes], Path]] = []


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to load libraries when there is a test that will run commands."""
    # What is loaded by now stays: looking through it again and again takes a twentieth of the time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    controls = hasattr(session.config, "workerinput") or not session.config.getoption("numprocesses", None)
    wanted = any(not set(USERS).isdisjoint(item.path.parts) for item in session.items)
    if not (controls and wanted and hasattr(os, "pidfd_open")):
        return
    directory = Path(tempfile.mkdtemp(prefix="tenantry-commands-"))
    for name in NAMES:
        launcher = directory / name
        launcher.write_text(f"#!{sys.executable} -ISE\n{(SOURCE / 'launcher.py').read_text()}")
        launcher.chmod(0o755)
    command = [sys.executable, str(SOURCE / "server.py"), str(directory / "socket")]
    _servers.append((subprocess.Popen(command, stdin=subprocess.PIPE), directory))
    os.environ["COMMANDS"] = str(directory)


def pytest_sessionfinish() -> None:
    """End the server, and with it nothing that it has started."""
    for server, directory in _servers:
        server.communicate()  # closes its standard input
        shutil.rmtree(directory)
        os.environ.pop("COMMANDS", None)
