"""The child process of one job: takes its limits upon itself, works, leaves its answer. See docex.processors.sandbox.

Started as ``python -m docex.processors.child DIRECTORY``. Of DocEX it loads only what the job needs.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import resource
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from docex.processors.sandbox import ANSWER, JOB, MIB, OUT_OF_MEMORY


def main(directory: Path) -> int:
    """Do the job that lies in the directory. Returns the exit code."""
    job = json.loads((directory / JOB).read_text())
    _limit(job["limits"])
    try:
        answer = _extracted(job, directory) if job["kind"] == "extract" else _processed(job)
        text = json.dumps(answer)
    except MemoryError:
        return OUT_OF_MEMORY
    (directory / ANSWER).write_text(text)
    return 0


def _limit(limits: Mapping[str, Any]) -> None:
    """What is set here cannot be raised again by this process."""
    seconds = int(limits["seconds"]) + 1
    for kind, most in (
        (resource.RLIMIT_AS, int(limits["memory"]) * MIB),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, int(limits["output"]) * MIB),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def _extracted(job: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """A built-in processor's work: from one file into another."""
    work = _found(job["function"])
    from docex.processors.extraction import ExtractionError

    try:
        return {"metadata": work(directory / job["source"], directory / job["target"], job["config"])}
    except ExtractionError as error:
        return {"error": str(error)}


def _processed(job: Mapping[str, Any]) -> dict[str, Any]:
    """A processor of the application's own, on a document of the tenant's."""
    sys.path[:] = job["paths"]
    os.environ["DOCEX_CONFIG_FILE"] = job["config_file"]
    from docex.application import DocEX
    from docex.context import UserContext

    docex = DocEX(UserContext(**job["user"]), provision=False)
    document = docex.get_document(job["document_id"])
    if document is None:
        return {"error": f"document {job['document_id']} was removed"}
    processor = _found(job["class"])(job["config"], docex.db)
    if not processor.can_process(document):
        return {"error": f"it does not take {document.name}"}
    result = processor.process(document)
    if inspect.isawaitable(result):
        result = asyncio.run(_awaited(result))
    return {
        "success": bool(result.success),
        "content": result.content if isinstance(result.content, str | int | float | list | dict) else None,
        "metadata": json.loads(json.dumps(result.metadata, default=str)),
        "error": None if result.error is None else str(result.error),
    }


async def _awaited(result: Any) -> Any:
    return await result


def _found(name: str) -> Any:
    module, _, attribute = name.partition(":")
    found: Any = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
