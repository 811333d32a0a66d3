"""Processes for revisions that must run as Python, each with one tenant in hand.

They are started when the first such tenant comes, from fresh interpreters and never by forking: this process has
connections and threads of its own. One that dies fails its tenant and is replaced.
"""

from __future__ import annotations

import pickle
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from tenantry.fleet.crew import Crew, Feed, Result, Task, Verdict
from tenantry.fleet.worker import Answer, Setting

PATIENCE = 5.0  # seconds that a worker gets to end by itself


class WorkerCrew(Crew):
    """Up to ``jobs`` processes."""

    def __init__(self, setting: Setting, *, jobs: int) -> None:
        self._setting = setting
        self._jobs = jobs
        self._processes: list[subprocess.Popen[bytes]] = []

    def run(self, feed: Feed) -> Iterator[Result]:
        idle = list(self._processes)
        busy: dict[int, tuple[subprocess.Popen[bytes], Task]] = {}
        with selectors.DefaultSelector() as selector:
            while True:
                while idle or len(self._processes) < self._jobs:
                    task = feed()
                    if task is None:
                        break
                    process = idle.pop() if idle else self._start()
                    self._give(process, task.tenant)
                    busy[self._answers(process).fileno()] = (process, task)
                    selector.register(self._answers(process), selectors.EVENT_READ, process)
                if not busy:
                    return
                for key, _ in selector.select():
                    process, task = busy.pop(key.fd)
                    selector.unregister(key.fileobj)
                    answer = self._answer(process)
                    if answer is None:
                        self._processes.remove(process)
                        self._end(process)
                        text = f"The process that ran its revision ended with code {process.returncode}."
                        yield Result(task, Verdict.FAILED, 0.0, error=text)
                        continue
                    idle.append(process)
                    yield Result(
                        task,
                        answer.verdict,
                        answer.seconds,
                        answer.lock_wait,
                        answer.sqlstate,
                        answer.object,
                        answer.error,
                    )

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", "from tenantry.fleet.worker import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the rollout, which lets them finish what they have in hand
        )
        self._processes.append(process)
        self._give(process, self._setting)
        return process

    @staticmethod
    def _give(process: subprocess.Popen[bytes], what: object) -> None:
        stream: Any = process.stdin
        with suppress(BrokenPipeError):  # that it is dead is seen when its answer is read
            pickle.dump(what, stream)
            stream.flush()

    @staticmethod
    def _answers(process: subprocess.Popen[bytes]) -> Any:
        return process.stdout

    @classmethod
    def _answer(cls, process: subprocess.Popen[bytes]) -> Answer | None:
        try:
            answer: Answer = pickle.load(cls._answers(process))  # noqa: S301 - written by our own child
        except (EOFError, pickle.UnpicklingError):
            return None
        return answer

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.close()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def close(self) -> None:
        for process in self._processes:
            self._end(process)
        self._processes.clear()
