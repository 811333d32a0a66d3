"""Run work that may go wrong in a child process, with limits of time and memory.

A hostile file can make its reader loop, swallow all memory or crash: here that costs one child process. The child has
no connection, no open file and, for the built-in processors, no environment of ours; it gets a job as JSON and leaves
its answer as JSON in a directory of its own. Works on POSIX systems.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docex.errors import ProcessingFailed, ProcessingStopped

MIB = 1024 * 1024
JOB, ANSWER = "job.json", "answer.json"
OUT_OF_MEMORY = 70  # the child's exit codes
LONGEST_REASON = 500  # characters


@dataclass(frozen=True)
class Limits:
    """What one run may take."""

    seconds: float = 60.0
    memory: int = 1024  # MiB of address space
    output: int = 256  # MiB of one file


@contextmanager
def workplace() -> Iterator[Path]:
    """A directory for one run, gone at its end; nobody else can read it."""
    with tempfile.TemporaryDirectory(prefix="docex-process-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def run(name: str, directory: Path, job: Mapping[str, Any], limits: Limits, *, isolated: bool) -> dict[str, Any]:
    """Run a job in a child and return its answer. ``isolated``: without our environment and working directory.

    :raises ProcessingStopped: it took too much, or died. :raises ProcessingFailed: it said why it cannot.
    """
    given = {**job, "limits": {"seconds": limits.seconds, "memory": limits.memory, "output": limits.output}}
    (directory / JOB).write_text(json.dumps(given))
    command = [sys.executable, *(["-I"] if isolated else []), "-m", "docex.processors.child", str(directory)]
    with open(directory / "stderr", "w+b") as stderr:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            cwd=directory if isolated else None,
            env={"PATH": os.defpath, "LANG": "C.UTF-8"} if isolated else None,
            start_new_session=True,  # so that what it starts can be stopped with it
        )
        try:
            code = child.wait(limits.seconds)
        except subprocess.TimeoutExpired as error:
            raise ProcessingStopped(name, f"it took more than {limits.seconds:g} s.") from error
        finally:
            _end(child)
        stderr.seek(0, os.SEEK_END)
        stderr.seek(max(0, stderr.tell() - LONGEST_REASON))
        said = stderr.read().decode("utf-8", "replace").strip()
    return _answer(name, directory, code, said, limits)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the child and of what it started."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _answer(name: str, directory: Path, code: int, said: str, limits: Limits) -> dict[str, Any]:
    if code == OUT_OF_MEMORY or said.endswith("MemoryError"):
        raise ProcessingStopped(name, f"it needed more than {limits.memory} MiB of memory.")
    if code == -signal.SIGXFSZ:
        raise ProcessingStopped(name, f"it wrote more than {limits.output} MiB.")
    if code == -signal.SIGXCPU:
        raise ProcessingStopped(name, f"it took more than {limits.seconds:g} s.")
    if code < 0:
        raise ProcessingStopped(name, f"its process died of {signal.Signals(-code).name}.")
    last = said.splitlines()[-1] if said else f"its process ended with code {code}"
    if code != 0:
        raise ProcessingStopped(name, f"{last}.")
    try:
        if (directory / ANSWER).stat().st_size > limits.output * MIB:
            raise ProcessingStopped(name, f"it answered more than {limits.output} MiB.")
        answer = json.loads((directory / ANSWER).read_bytes())
    except (OSError, ValueError) as error:
        raise ProcessingStopped(name, "it left no answer.") from error
    if not isinstance(answer, dict):
        raise ProcessingStopped(name, "it left no answer.")
    if answer.get("error") is not None and "success" not in answer:
        raise ProcessingFailed(name, str(answer["error"])[:LONGEST_REASON])
    return answer
