"""Add the files of a directory: many contents and rows at a time.

One transaction takes a batch in, so a kill loses at most the batch that was under way, and a repeated run finds what
was added before. A file that cannot be added stops nothing.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from docex import access
from docex.errors import DocumentRejected, FileMissing, QuotaExceeded
from docex.sources import opened

if TYPE_CHECKING:
    from docex.docbasket import DocBasket
    from docex.document import Document
    from docex.services.intake import Draft

FILES = 250  # in one batch
BYTES = 32 * 1024 * 1024  # of contents in one batch, more or less


@dataclass
class DirectoryReport:
    """What became of the files of a directory."""

    added: list[Document] = field(default_factory=list)
    duplicates: list[Document] = field(default_factory=list)  # that were there already
    refused: list[tuple[str, str]] = field(default_factory=list)  # paths, and why


def add_directory(
    basket: DocBasket,
    directory: str | os.PathLike[str],
    document_type: str,
    metadata: Mapping[str, Any] | None,
    pattern: str,
    recursive: bool,
    progress: Callable[[int, int], object] | None,
) -> DirectoryReport:
    """See :meth:`docex.docbasket.DocBasket.add_directory`."""
    access.check(basket.documents.db, access.WRITE)
    root, report = os.fspath(directory), DirectoryReport()
    files = sorted(_files(root, pattern, recursive, report))
    waiting = iter(files)
    done, total = len(report.refused), len(files) + len(report.refused)
    while True:
        taken = _batch(basket, waiting, document_type, metadata, report)
        if taken == 0:
            return report
        done += taken
        if progress is not None:
            progress(done, total)


def _batch(
    basket: DocBasket,
    waiting: Iterator[str],
    document_type: str,
    metadata: Mapping[str, Any] | None,
    report: DirectoryReport,
) -> int:
    """Take the next files in; returns how many were looked at."""
    drafts: list[Draft] = []
    size = looked_at = 0
    with ExitStack() as received:
        for path in waiting:
            looked_at += 1
            try:
                with ExitStack() as attempt:
                    source = attempt.enter_context(opened(path, None))
                    staged = received.enter_context(basket.storage.receive(source.reader, path))
                    drafts.append(basket.draft(source, staged, document_type, metadata))
                    size += staged.size
            except DocumentRejected as error:
                report.refused.append((path, str(error)))
            if looked_at >= FILES or size >= BYTES:
                break
        try:
            results = basket.take_in(drafts) if drafts else []
        except QuotaExceeded:
            # As many as fit, one by one; the first that does not says so.
            for draft in drafts:
                _told(report, basket.take_in([draft]))
            return looked_at
        _told(report, results)
    return looked_at


def _told(report: DirectoryReport, results: list[tuple[Document, bool]]) -> None:
    for document, new in results:
        (report.added if new else report.duplicates).append(document)


def _files(root: str, pattern: str, recursive: bool, report: DirectoryReport) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except FileNotFoundError as error:
        raise FileMissing(root, "there is no such directory.") from error
    except OSError as error:
        raise DocumentRejected(root, f"{error.strerror}.") from error
    for entry in entries:
        if entry.is_symlink():
            report.refused.append((entry.path, "it is a symbolic link; those are not followed."))
        elif entry.is_dir(follow_symlinks=False):
            if recursive:
                try:
                    yield from _files(entry.path, pattern, recursive, report)
                except DocumentRejected as error:
                    report.refused.append((entry.path, str(error)))
        elif fnmatch.fnmatch(entry.name, pattern):
            yield entry.path
