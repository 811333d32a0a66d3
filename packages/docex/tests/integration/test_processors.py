"""Processors take out what is there, keep it, and cost no more than one failed run when a file is hostile."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
import zlib
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docx
import pytest

from docex import DocEX, UserContext
from docex.cli import main
from docex.errors import AccessDenied, BasketNotFound, ProcessorNotFound, ProcessorRejected
from docex.processors.base import BaseProcessor, ProcessingResult
from docex.processors.csv_to_json import CSVToJSONProcessor
from docex.processors.factory import ProcessorFactory, factory
from docex.processors.pdf_to_text import MatchingInvoiceToPOProcessor
from docex.processors.word_to_text import WordToTextProcessor
from docex.worker import Worker

if TYPE_CHECKING:
    from conftest import Installation

MINE = '''
import time
from docex.processors.base import BaseProcessor, ProcessingResult


class Shouter(BaseProcessor):
    """Makes a text loud."""

    def can_process(self, document):
        return document.name.endswith(".txt")

    def process(self, document):
        text = self.get_document_text(document).upper() + self.config.get("mark", "")
        document.update_metadata({"loud": text})
        return ProcessingResult(True, text, {"length": len(text), "user": self.db.user_id})


class Patient(Shouter):
    async def process(self, document):
        return ProcessingResult(True, "async")


class Looping(Shouter):
    def process(self, document):
        while True:
            pass


class Sleeping(Shouter):
    def process(self, document):
        time.sleep(600)


class Greedy(Shouter):
    def process(self, document):
        return ProcessingResult(True, "x" * (4 << 30))


class Raising(Shouter):
    def process(self, document):
        raise RuntimeError("no such luck")


class Dying(Shouter):
    def process(self, document):
        import os, signal
        os.kill(os.getpid(), signal.SIGSEGV)
'''
LISTED = [f"mine:{name}" for name in ["Shouter", "Patient", "Looping", "Sleeping", "Greedy", "Raising", "Dying"]]


def pdf(*streams: bytes) -> bytes:
    """A PDF of one page for each stream of page content, compressed."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(streams)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(streams)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, stream in enumerate(streams):
        packed = stream if stream.startswith(b"x") else zlib.compress(stream)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >>"
            + f" /Contents {5 + 2 * number} 0 R >>".encode()
        )
        objects.append(f"<< /Length {len(packed)} /Filter /FlateDecode >>\nstream\n".encode() + packed + b"\nendstream")
    out, offsets = io.BytesIO(b"%PDF-1.4\n"), []
    out.seek(0, os.SEEK_END)
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(f"{number} 0 obj\n".encode() + body + b"\nendobj\n")
    start = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.writelines(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    out.write(f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF".encode())
    return out.getvalue()


def page(text: str) -> bytes:
    return f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode()


def word(*paragraphs: str) -> bytes:
    made, out = docx.Document(), io.BytesIO()
    for paragraph in paragraphs:
        made.add_paragraph(paragraph)
    table = made.add_table(rows=2, cols=2)
    for row, cells in enumerate((("Name", "Role"), ("John", "Engineer"))):
        for column, text in enumerate(cells):
            table.rows[row].cells[column].text = text
    made.save(out)
    return out.getvalue()


@pytest.fixture
def anywhere(prepared: Any) -> Any:
    """Most of a test would otherwise go into making its registry."""
    return prepared


@pytest.fixture
def docex(installation: Installation) -> DocEX:
    installation.file("mine.py", MINE.encode())
    limits = {"timeout": 20, "memory": 600, "output": 50, "processors": LISTED}
    return installation.setup(security={}, processing=limits).docex(None)


@pytest.fixture
def importable(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's own module, as it would be installed."""
    monkeypatch.syspath_prepend(str(installation.directory))


# -- the built-in ones -------------------------------------------------------------------------------------------------


def test_csv_becomes_a_json_document_beside_it(anywhere: Installation) -> None:
    docex = anywhere.setup().docex()
    basket = docex.basket("b")
    document = basket.add(anywhere.file("people.csv", "name;age\r\n'John; Doe';30\r\nÅsa\r\n".encode()))
    processor = CSVToJSONProcessor({"delimiter": ";", "quotechar": "'"})

    result = processor.process(document)

    assert result.success, result.error
    assert result.metadata["record_count"] == 2
    assert result.metadata["columns"] == ["name", "age"]
    assert json.loads(Path(result.content).read_text("utf-8")) == [
        {"name": "John; Doe", "age": "30"},
        {"name": "Åsa", "age": None},
    ]
    made = basket.get_document(result.metadata["document_id"])
    assert (made.name, made.document_type, made.get_content("json")[0]["age"]) == ("people.csv.json", "derived", "30")
    [run] = docex.list_processing_operations(document.id)
    assert (run["processor"], run["status"], run["user_id"]) == ("CSVToJSONProcessor", "success", "alice")

    # Again, otherwise: the same document has a new version.
    again = CSVToJSONProcessor({"delimiter": ";", "quotechar": "'", "output_format": "columns"}).process(document)
    assert again.metadata["document_id"] == made.id
    assert made.get_content("json") == {"name": ["John; Doe", "Åsa"], "age": ["30", None]}
    assert basket.count_documents() == 2
    assert anywhere.query("SELECT processing_attempts FROM document WHERE id = :id", id=document.id) == [(2,)]


CSV_CASES: list[tuple[bytes, dict[str, Any], Any]] = [
    (b"", {}, []),
    (b"a,b\n", {}, []),
    (b"\xef\xbb\xbfa,a\n1,2,3\n\n", {}, [{"a": "1", "a_2": "2", "column_3": "3"}]),
    (
        b"1,2\n3,4\n",
        {"include_header": False, "output_format": "columns"},
        {"column_1": ["1", "3"], "column_2": ["2", "4"]},
    ),
    (b'"a\nb",c\n', {"include_header": False}, [{"column_1": "a\nb", "column_2": "c"}]),
    ("ä\nö\n".encode("latin-1"), {"encoding": "latin-1"}, [{"ä": "ö"}]),
]


@pytest.mark.parametrize(("content", "config", "expected"), CSV_CASES)
def test_odd_csv(tmp_path: Path, content: bytes, config: dict[str, Any], expected: Any) -> None:
    from docex.processors.extraction import csv_to_json

    (tmp_path / "a").write_bytes(content)
    csv_to_json(tmp_path / "a", tmp_path / "b", config)
    assert json.loads((tmp_path / "b").read_text("utf-8")) == expected


def test_pdf_gives_its_text_and_purchase_order(docex: DocEX, installation: Installation) -> None:
    basket = docex.basket("b")
    document = basket.add(installation.file("invoice.pdf", pdf(page("Invoice for PO-1234567"), page("second page"))))
    kind = factory.map_document_to_processor(document)
    assert kind is MatchingInvoiceToPOProcessor
    result = kind(config={}).process(document)
    assert result.success, result.error
    assert "Invoice for PO-1234567" in result.content
    assert "second page" in result.content
    assert result.metadata == {
        "input_format": "pdf",
        "output_format": "text",
        "length": len(result.content),
        "cus_PO": "1234567",
    }
    assert basket.find_documents_by_metadata({"cus_PO": "1234567"})[0].id == document.id
    assert [hit.document.id for hit in basket.search("invoice")] == [document.id]


def test_word_gives_its_paragraphs_and_tables(docex: DocEX, installation: Installation) -> None:
    basket = docex.basket("b")
    document = basket.add(installation.file("letter.docx", word("Dear  Sir", "See below")))
    result = asyncio.run(WordToTextProcessor({}).process(document))
    assert result.success, result.error
    assert Path(result.content).read_text() == "Dear  Sir\nSee below\nName\tRole\nJohn\tEngineer"
    counts = {name: result.metadata[name] for name in ("paragraph_count", "table_count", "word_count", "line_count")}
    assert counts == {"paragraph_count": 2, "table_count": 1, "word_count": 8, "line_count": 4}
    assert [hit.document.id for hit in basket.search("engineer") if hit.document.id == document.id]
    plain = asyncio.run(WordToTextProcessor({"extract_tables": False, "preserve_formatting": False}).process(document))
    assert Path(plain.content).read_text() == "Dear Sir\nSee below"
    old = basket.add(installation.file("old.doc", b"\xd0\xcf\x11\xe0"))
    refused = asyncio.run(WordToTextProcessor({}).process(old))
    assert (refused.success, refused.error) == (
        False,
        "WordToTextProcessor takes files that end with .docx, not old.doc.",
    )


# -- hostile files -----------------------------------------------------------------------------------------------------


def bomb() -> bytes:
    """A Word file whose text unpacks to 600 MB."""
    source, out = zipfile.ZipFile(io.BytesIO(word("x"))), io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        for entry in source.infolist():
            if entry.filename != "word/document.xml":
                package.writestr(entry.filename, source.read(entry.filename))
                continue
            with package.open(entry.filename, "w", force_zip64=True) as file:
                for _ in range(600):
                    file.write(b"<" + b" " * 999_999)
    return out.getvalue()


def test_hostile_files_cost_one_failed_run_each(docex: DocEX, installation: Installation) -> None:
    deflated = zlib.compressobj(9)
    flood = b"".join(deflated.compress(b"\0" * 10_000_000) for _ in range(80)) + deflated.flush()  # 800 MB from 0.8 MB
    files = {
        "flood.pdf": (pdf(flood), "MiB of memory"),
        "cut.pdf": (pdf(page("x"))[:200], "broken PDF|no text"),
        "not.pdf": (b"hello", "it is not a PDF"),
        "bomb.docx": (bomb(), "unpack to"),
        "not.docx": (b"hello", "not a Word document"),
        "empty.docx": (zip_of({}), "not a Word document"),
        "entities.docx": (zip_of({"[Content_Types].xml": LAUGHS}), "not a Word document|MiB of memory"),
        "quotes.csv": (b'a,"b\n', "cannot be read as CSV"),
        "latin.csv": (b"a\n\xe4\n", "is not utf-8"),
    }
    basket = docex.basket("b")
    for name, (content, reason) in files.items():
        document = basket.add(installation.file(name, content))
        result = docex.process_document(document.id)
        if not (result.success and "no text" in reason):
            assert not result.success, name
            assert any(part in result.error for part in reason.split("|")), (name, result.error)
            assert docex.list_processing_operations(document.id)[0]["error"] == result.error
    assert basket.count_documents(document_type="derived") == 0
    good = basket.add(installation.file("good.pdf", pdf(page("still alive"))))
    assert docex.process_document(good.id).success


LAUGHS = (
    "<?xml version='1.0'?><!DOCTYPE t [<!ENTITY a 'haha'>"
    + "".join(f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 12}'>" for n in range(9))
    + "]><t>&j;</t>"
)


def zip_of(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as package:
        for name, content in files.items():
            package.writestr(name, content)
    return out.getvalue()


# -- the application's own ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("importable")
def test_own_processors_run_in_a_child_with_the_tenants_configuration(docex: DocEX, installation: Installation) -> None:
    document = docex.basket("b").add(installation.file("a.txt", b"hello"))
    docex.register_processor("Shouter", "content_processor", "loud", {"mark": "!"})
    result = docex.process_document(document.id, "Shouter")
    assert (result.success, result.content) == (True, "HELLO!")
    assert result.metadata == {"length": 6, "user": "alice"}
    assert document.get_metadata()["loud"] == "HELLO!"
    assert docex.process_document(document.id, "Patient").content == "async"
    docex.enable_processor("Shouter", enabled=False)
    with pytest.raises(ProcessorNotFound, match="disabled"):
        docex.process_document(document.id, "Shouter")
    with pytest.raises(ProcessorNotFound, match=r"processing\.processors"):
        docex.register_processor("Unknown")
    with pytest.raises(ProcessorNotFound, match="no rule gives"):
        docex.process_document(document.id)


def test_a_processor_of_an_installed_package_is_found_by_its_entry_point(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distribution as pip leaves it: the module, and beside it what it offers."""
    site = installation.directory / "site"
    about = site / "acme_processors-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-processors\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[docex.processors]\nCounter = acme_processors:Counter\n")
    (site / "acme_processors.py").write_text(
        "from docex.processors.base import BaseProcessor, ProcessingResult\n"
        "class Counter(BaseProcessor):\n"
        "    def can_process(self, document):\n"
        "        return True\n"
        "    def process(self, document):\n"
        "        return ProcessingResult(True, len(self.get_document_bytes(document)))\n"
    )
    docex = installation.setup().docex()
    document = docex.basket("b").add(installation.file("a.txt", b"hello"))
    with pytest.raises(ProcessorNotFound, match=r"entry point of 'docex\.processors'"):
        docex.process_document(document.id, "Counter")
    monkeypatch.syspath_prepend(str(site))
    result = docex.process_document(document.id, "Counter")
    assert (result.success, result.content) == (True, 5), result.error
    assert "Counter" in factory.list_processors()
    [run] = docex.list_processing_operations(document.id)
    assert (run["processor"], run["status"]) == ("Counter", "success")

    # One that cannot be loaded is told when it is asked for.
    (about / "entry_points.txt").write_text("[docex.processors]\nGone = acme_processors:Gone\n")
    with pytest.raises(ProcessorRejected, match="'acme_processors:Gone' cannot be loaded"):
        docex.process_document(document.id, "Gone")
    (about / "entry_points.txt").write_text(
        "[docex.processors]\nBad = acme_broken:Bad\nCounter = acme_processors:Counter\n"
    )
    (site / "acme_broken.py").write_text("raise RuntimeError('no license file')\n")
    known, broken = factory.look()
    assert "Counter" in known
    assert "no license file" in str(broken["Bad"])
    with redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit) as left:
        main(["process", "list", "--tenant-id", "acme-corp", "--format", "json"])
    assert not left.value.code
    [bad] = [row for row in json.loads(out.getvalue()) if row["broken"]]
    assert (bad["name"], "RuntimeError: no license file" in bad["description"]) == ("Bad", True)


@pytest.mark.usefixtures("importable")
def test_a_processor_that_takes_too_much_is_stopped(docex: DocEX, installation: Installation) -> None:
    document = docex.basket("b").add(installation.file("a.txt", b"hello"))
    for name, reason in {
        "Greedy": "MiB of memory",
        "Raising": "no such luck",
        "Dying": "SIGSEGV",
    }.items():
        result = docex.process_document(document.id, name)
        assert (result.success, reason in result.error) == (False, True), result.error
    DocEX.setup(processing={"timeout": 1.5})
    quick = DocEX(UserContext("alice"))
    for name in ("Looping", "Sleeping"):
        start = time.monotonic()
        result = quick.process_document(document.id, name)
        assert (result.success, "more than 1.5 s" in result.error) == (False, True), result.error
        assert time.monotonic() - start < 8
    statuses = [run["status"] for run in docex.list_processing_operations(document.id)]
    assert statuses == ["failed"] * 5


def test_a_class_that_no_child_could_import_is_refused(docex: DocEX, installation: Installation) -> None:
    class Local(BaseProcessor):
        def can_process(self, document: Any) -> bool:
            return True

        def process(self, document: Any) -> ProcessingResult:
            return ProcessingResult(True, self.get_document_text(document))

    document = docex.basket("b").add(installation.file("a.txt", b"hello"))
    own = ProcessorFactory()
    own.register(Local)
    assert own.get_processor("Local").process(document).content == "hello"  # called directly it runs here
    factory.mapper.rules.insert(0, lambda found: Local if found.name == "a.txt" else None)
    try:
        assert factory.map_document_to_processor(document) is Local
        with pytest.raises(ProcessorRejected, match="module of its own"):
            docex.process_document(document.id)
    finally:
        factory.mapper.rules.pop(0)
    for wrong in (str, "x"):
        with pytest.raises(ProcessorRejected, match="BaseProcessor"):
            own.register(wrong)


def test_each_tenant_has_its_own_configuration(installation: Installation) -> None:
    installation.setup()
    acme, globex = installation.docex("acme"), installation.docex("globex")
    acme.register_processor("CSVToJSONProcessor", config={"delimiter": ";"})
    globex.register_processor("CSVToJSONProcessor", config={"delimiter": "|"}, enabled=False)
    for _ in range(2):
        assert factory.get_processor("CSVToJSONProcessor", acme.db).config == {"delimiter": ";"}
        assert factory.get_processor("CSVToJSONProcessor", globex.db) is None
    assert factory.get_processor("WordToTextProcessor", acme.db) is None
    assert "TextChunkingProcessor" in factory.list_processors()


# -- rules and the worker ----------------------------------------------------------------------------------------------


def test_the_worker_gives_documents_to_processors_by_rule(anywhere: Installation) -> None:
    docex = anywhere.setup().docex()
    basket, other = docex.basket("b"), docex.basket("other")
    docex.register_processor("CSVToJSONProcessor")
    docex.register_processor("TextChunkingProcessor", config={"chunk_size": 20, "chunk_overlap": 0})
    docex.add_processing_rule("CSVToJSONProcessor", name_pattern="*.CSV", basket_id=basket.id)
    rule = docex.add_processing_rule("TextChunkingProcessor", content_type="text/plain", priority=5)
    docex.add_processing_rule("TextChunkingProcessor", name_pattern="*.json")  # outputs are not worked on again
    assert next(iter(docex.list_processing_rules())).processor == "TextChunkingProcessor"
    csv = basket.add(anywhere.file("a.csv", b"a\n1\n"))
    other.add(anywhere.file("b.csv", b"a\n1\n"))
    text = other.add(anywhere.file("c.txt", b"one two three four five six seven"))

    drained = Worker([docex]).run(once=True)

    assert (drained.runs, drained.failures) == (2, 0)
    assert [run["processor"] for run in docex.list_processing_operations(csv.id)] == ["CSVToJSONProcessor"]
    [run] = docex.list_processing_operations(text.id)
    assert run["output_metadata"]["chunk_count"] == 2
    statuses = anywhere.query("SELECT status, count(*) FROM doc_events GROUP BY status")
    assert statuses == [("PROCESSED", 5)]  # three files and what was made of two of them
    assert Worker([docex]).run(once=True).events == 0

    assert docex.remove_processing_rule(rule.id) is True
    assert docex.remove_processing_rule(rule.id) is False
    bad = basket.add(anywhere.file("bad.csv", b'"\n'))
    assert Worker([docex]).run(once=True).failures == 1
    [(status, message)] = anywhere.query(
        "SELECT status, error_message FROM doc_events WHERE document_id = :id", id=bad.id
    )
    assert status == "FAILED"
    assert "CSVToJSONProcessor: " in message
    with pytest.raises(ProcessorRejected, match="needs a condition"):
        docex.add_processing_rule("CSVToJSONProcessor")
    with pytest.raises(ProcessorNotFound):
        docex.add_processing_rule("WordToTextProcessor", name_pattern="*")
    with pytest.raises(BasketNotFound):
        docex.add_processing_rule("CSVToJSONProcessor", basket_id="bas_none")


def test_two_workers_share_the_events_and_stop_when_told(installation: Installation) -> None:
    docex = installation.setup().docex()
    basket = docex.basket("b")
    docex.register_processor("CSVToJSONProcessor")
    docex.add_processing_rule("CSVToJSONProcessor", name_pattern="*.csv")
    for number in range(6):
        basket.add(installation.file(f"{number}.csv", f"a\n{number}\n".encode()))
    command = [
        str(Path(sys.executable).with_name("docex")),
        "work",
        "--tenant-id",
        "acme-corp",
        "--interval",
        "0.05",
    ]
    workers = [
        subprocess.Popen(command, cwd=installation.directory, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        end = time.monotonic() + 60
        while basket.count_documents(document_type="derived") < 6 and time.monotonic() < end:
            time.sleep(0.1)
        # Until the last event is finished as well.
        while docex.events.get_pending_events() and time.monotonic() < end:
            time.sleep(0.1)
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
    assert [worker.wait(20) for worker in workers] == [0, 0]
    for worker in workers:
        worker.stdout.close()
    assert basket.count_documents(document_type="derived") == 6
    assert len(docex.list_processing_operations()) == 6


def test_roles_are_checked_where_they_are_enforced(installation: Installation) -> None:
    installation.setup(security={"multi_tenancy_model": "database_level", "enforce_user_context": True})

    def acting(role: str) -> DocEX:
        return DocEX(UserContext("u", tenant_id="acme", roles=[role]))

    document = acting("admin").basket("b").add(installation.file("a.csv", b"a\n1\n"))
    for role in ("reader", "editor"):
        with pytest.raises(AccessDenied):
            acting(role).register_processor("CSVToJSONProcessor")
    with pytest.raises(AccessDenied):
        acting("reader").process_document(document.id)
    assert acting("editor").process_document(document.id).success
