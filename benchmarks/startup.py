"""How long commands take from the shell: interpreter, imports and work, with the embedded server up."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 10


def commands() -> dict[str, float]:
    """The median of each command, in seconds."""
    programs = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "HOME": home, "BEAK_HOME": f"{home}/beak"}
        environment.pop("BEAK_DATABASE_URL", None)

        def run(*arguments: str) -> float:
            start = time.perf_counter()
            command = [str(programs / arguments[0]), *arguments[1:]]
            subprocess.run(command, check=True, capture_output=True, env=environment, cwd=home)
            return time.perf_counter() - start

        run("beak-lims", "db", "upgrade")
        try:
            return {
                " ".join(arguments): statistics.median(run(*arguments) for _ in range(ROUNDS))
                for arguments in (("docex", "--help"), ("beak-lims", "--help"), ("beak-lims", "tenant", "list"))
            }
        finally:
            run("beak-lims", "db", "stop")
