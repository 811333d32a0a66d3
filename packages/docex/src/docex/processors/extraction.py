"""From one file into another: what the built-in processors do, as plain functions that touch nothing else.

They run in a child process, because the files come from anywhere. Each returns what is worth knowing of its work.
"""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

LARGEST_UNPACKED = 512 * 1024 * 1024  # bytes that a Word file may claim to unpack to
LONGEST_FIELD = 16 * 1024 * 1024  # characters of one CSV field
_PURCHASE_ORDER = re.compile(r"PO[-\s]?(\d{6,})", re.IGNORECASE)


class ExtractionError(Exception):
    """The file is not what it says it is. Fields: the sentence."""


def csv_to_json(source: Path, target: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """CSV as JSON: an array of objects (``records``), or an object of arrays (``columns``).

    Records are written as they are read, so that a file of any size takes little memory; columns are kept together.
    Without a header the columns are called column_1, column_2 ...
    """
    output_format = config.get("output_format", "records")
    csv.field_size_limit(LONGEST_FIELD)
    try:
        # A spreadsheet's mark at the start is no part of the first column's name.
        encoding = config.get("encoding", "utf-8")
        encoding = "utf-8-sig" if encoding.lower().replace("_", "-") == "utf-8" else encoding
        with open(source, encoding=encoding, newline="") as reader, open(target, "w", encoding="utf-8") as writer:
            rows = csv.reader(
                reader, delimiter=config.get("delimiter", ","), quotechar=config.get("quotechar", '"'), strict=True
            )
            columns, body = _header(rows, include_header=config.get("include_header", True))
            count = (_write_columns if output_format == "columns" else _write_records)(writer, columns, body)
    except UnicodeDecodeError as error:
        raise ExtractionError(f"byte {error.start} is not {error.encoding}") from error
    except (csv.Error, LookupError, TypeError) as error:
        raise ExtractionError(f"it cannot be read as CSV: {error}") from error
    return {"input_format": "csv", "output_format": output_format, "record_count": count, "columns": columns}


def _header(rows: Iterator[list[str]], *, include_header: bool) -> tuple[list[str], Iterator[list[str]]]:
    first = next((row for row in rows if row), [])
    if include_header:
        seen: dict[str, int] = {}
        names = []
        for name in first:
            # Two columns of one name would be one value of an object.
            seen[name] = seen.get(name, 0) + 1
            names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
        return names, rows
    names = [f"column_{number}" for number in range(1, len(first) + 1)]

    def all_rows() -> Iterator[list[str]]:
        if first:
            yield first
        yield from rows

    return names, all_rows()


def _cells(columns: list[str], row: list[str]) -> Iterator[tuple[str, str | None]]:
    """A row's values by column; what is missing is None, what is more than the columns gets names of its own."""
    for index in range(max(len(columns), len(row))):
        while index >= len(columns):
            columns.append(f"column_{len(columns) + 1}")
        yield columns[index], row[index] if index < len(row) else None


def _write_records(writer: TextIO, columns: list[str], rows: Iterator[list[str]]) -> int:
    count = 0
    writer.write("[")
    for row in rows:
        if row:
            writer.write(("," if count else "") + "\n" + json.dumps(dict(_cells(columns, row)), ensure_ascii=False))
            count += 1
    writer.write("\n]\n")
    return count


def _write_columns(writer: TextIO, columns: list[str], rows: Iterator[list[str]]) -> int:
    values: dict[str, list[str | None]] = {name: [] for name in columns}
    count = 0
    for row in rows:
        if row:
            for name, cell in _cells(columns, row):
                held = values.setdefault(name, [None] * count)
                held.append(cell)
            count += 1
    json.dump(values, writer, ensure_ascii=False)
    return count


def pdf_to_text(source: Path, target: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The text of a PDF, and the number of a purchase order if it names one (``PO 123456``)."""
    from pdfminer.high_level import extract_text
    from pdfminer.pdfexceptions import PDFException
    from pdfminer.psexceptions import PSException

    with open(source, "rb") as reader:
        if b"%PDF-" not in reader.read(1024):
            raise ExtractionError("it is not a PDF")
    try:
        text = extract_text(source)
    except (PDFException, PSException, ValueError, TypeError, KeyError, AssertionError, RecursionError) as error:
        # What the reader trips over in a file that breaks its own format.
        raise ExtractionError(f"it is a broken PDF: {type(error).__name__} {error}".rstrip()) from error
    target.write_text(text, encoding="utf-8")
    found = _PURCHASE_ORDER.search(text)
    metadata: dict[str, Any] = {"input_format": "pdf", "output_format": "text", "length": len(text)}
    return metadata | ({"cus_PO": found[1]} if found else {})


def word_to_text(source: Path, target: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The paragraphs and tables of a Word document (.docx), in their order."""
    _refuse_bomb(source)
    import docx
    from docx.opc.exceptions import PackageNotFoundError
    from docx.table import Table
    from lxml.etree import XMLSyntaxError  # type: ignore[import-untyped]  # it has no types

    try:
        document = docx.Document(str(source))
    except (PackageNotFoundError, KeyError, ValueError, XMLSyntaxError, zipfile.BadZipFile) as error:
        raise ExtractionError(f"it is not a Word document: {error}") from error
    lines, tables, paragraphs = [], 0, 0
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            tables += 1
            if config.get("extract_tables", True):
                lines += ["\t".join(cell.text.strip() for cell in row.cells) for row in block.rows]
        else:
            paragraphs += 1
            lines.append(block.text if config.get("preserve_formatting", True) else " ".join(block.text.split()))
    text = "\n".join(lines)
    encoding = config.get("encoding", "utf-8")
    try:
        target.write_bytes(text.encode(encoding))
    except (LookupError, UnicodeEncodeError) as error:
        raise ExtractionError(f"its text cannot be written as {encoding}: {error}") from error
    return {
        "input_format": "docx",
        "output_format": "text",
        "encoding": encoding,
        "paragraph_count": paragraphs,
        "table_count": tables,
        "word_count": len(text.split()),
        "char_count": len(text),
        "line_count": text.count("\n") + 1 if text else 0,
    }


def text_to_chunks(source: Path, target: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """A text's chunks as a JSON array."""
    from docex.processors.chunking import ChunkingConfig, chunk_text

    strategy = config.get("strategy", "auto")
    sizes = {name: config[name] for name in ("chunk_size", "chunk_overlap", "min_chunk_size") if name in config}
    try:
        chunks = chunk_text(source.read_text("utf-8"), strategy, ChunkingConfig(**sizes))
    except UnicodeDecodeError as error:
        raise ExtractionError("it is not UTF-8 text") from error
    except (TypeError, ValueError) as error:
        raise ExtractionError(str(error)) from error
    target.write_text(json.dumps([chunk.to_dict() for chunk in chunks], ensure_ascii=False), encoding="utf-8")
    return {"input_format": "text", "output_format": "chunks", "strategy": strategy, "chunk_count": len(chunks)}


def _refuse_bomb(source: Path) -> None:
    """A zip's own directory says what it unpacks to; one that lies meets the limit of memory."""
    try:
        with zipfile.ZipFile(source) as package:
            size = sum(entry.file_size for entry in package.infolist())
    except zipfile.BadZipFile as error:
        raise ExtractionError("it is not a Word document (.docx)") from error
    if size > LARGEST_UNPACKED:
        raise ExtractionError(f"it would unpack to {size} bytes; at most {LARGEST_UNPACKED} are taken")
