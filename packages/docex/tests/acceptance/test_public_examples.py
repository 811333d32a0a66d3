"""Scripts written against the public package's documented interface run here as they are.

Each is our own text, with the imports, calls and attributes that the public package's examples use: hello world, basic
usage, route management and file transfer, the processors, several tenants.
"""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Installation

HELLO = """
    from pathlib import Path
    from docex import DocEX
    from docex.context import UserContext

    docEX = DocEX(user_context=UserContext(user_id="hello_user", user_email="hello@example.com"))
    basket = docEX.basket('mybasket')
    hello_file = Path('hello.txt')
    hello_file.write_text('Hello!')
    doc = basket.add(str(hello_file))
    details = doc.get_details()
    print(details.name, details.status, details.created_at)
    hello_file.unlink()
"""

BASIC = """
    import json
    from pathlib import Path
    from docex import DocEX
    from docex.context import UserContext

    context = UserContext(user_id="u", user_email="u@example.com", tenant_id="example_tenant", roles=["user"])
    docEX = DocEX(user_context=context)
    basket = docEX.basket('example_basket')
    docs_dir = Path('example_docs')
    docs_dir.mkdir(exist_ok=True)
    text_file = docs_dir / 'document.txt'
    text_file.write_text('a sample')
    json_file = docs_dir / 'data.json'
    json_file.write_text(json.dumps({'key': 'value'}))
    text_doc = basket.add(str(text_file), document_type='text', metadata={'author': 'John Doe'})
    json_doc = basket.add(str(json_file), document_type='json', metadata={'author': 'Jane Smith'})
    print(text_doc.get_details())
    print(text_doc.get_metadata()['author'])
    assert len(basket.find_documents_by_metadata({'author': 'John Doe'})) == 1
    assert json_doc.get_content(mode='json') == {'key': 'value'}
    text_file.write_text('Updated content')
    updated_doc = basket.update_document(text_doc.id, str(text_file))
    assert updated_doc.get_content(mode='text') == 'Updated content'
    print(json.dumps(basket.get_stats(), indent=2, default=str))
    for b in docEX.list_baskets():
        print(f"- {b.name}: {b.description}")
"""

ROUTE_MANAGEMENT = """
    from pathlib import Path
    from docex import DocEX
    from docex.context import UserContext
    from docex.transport.config import TransportType, LocalTransportConfig

    docEX = DocEX(user_context=UserContext(user_id="m", tenant_id="example_tenant", roles=["admin"]))
    for direction in ("outbound", "inbound"):
        config = LocalTransportConfig(
            type=TransportType.LOCAL,
            name=f"{direction}_transport",
            base_path=str(Path("test_data") / direction),
            create_dirs=True,
        )
        route = docEX.create_route(
            name=f"{direction}_route",
            transport_type=TransportType.LOCAL,
            config=config.model_dump(),
            other_party={"id": "partner1", "name": "Test Partner", "type": "customer"},
        )
        print(route.name, route.purpose, route.protocol, route.enabled)
        print(route.can_upload, route.can_download, route.can_list, route.can_delete)
        assert (route.other_party.id, route.other_party.name, route.other_party.type)[1] == "Test Partner"
    assert len(docEX.list_routes()) == 2
    assert docEX.get_route("outbound_route").name == "outbound_route"
    assert docEX.delete_route("inbound_route")
    assert [route.name for route in docEX.list_routes()] == ["outbound_route"]
    docEX.create_route(name="inbound_route", transport_type=TransportType.LOCAL, config=config.model_dump())
    for t_type in docEX.get_available_transport_types():
        print(f"- {t_type}")
"""

FILE_TRANSFER = """
    import asyncio
    import json
    from datetime import datetime
    from pathlib import Path
    from docex import DocEX
    from docex.context import UserContext
    from docex.transport.config import RouteConfig, TransportType

    async def main():
        docEX = DocEX(user_context=UserContext(user_id="r", tenant_id="example_tenant", roles=["user"]))
        outbound_route, inbound_route = docEX.get_route("outbound_route"), docEX.get_route("inbound_route")
        local_file_path = Path("test_data/temp_download/test_file.txt")
        local_file_path.parent.mkdir(parents=True)
        test_file = Path(outbound_route.config['base_path']) / 'test_file.txt'
        test_file.parent.mkdir(exist_ok=True)
        test_file.write_text('This is a test file for download.')
        result = await outbound_route.download('test_file.txt', local_file_path)
        if not result.success:
            raise RuntimeError(f"Failed to download file: {result.error}")
        basket = docEX.basket("example_basket")
        doc = basket.add(str(local_file_path), metadata={
            'source_route': 'outbound_route', 'download_time': datetime.now().isoformat()})
        result = await inbound_route.upload_document(doc)
        if not result.success:
            raise RuntimeError(f"Failed to upload document: {result.error}")
        print(doc.model.name, doc.model.source, doc.model.size, doc.model.checksum)
        assert doc.model.status == "SENT"
        for op in [*doc.get_operations(), *doc.get_route_operations()]:
            print(op['type'], op['status'], op['created_at'], op['completed_at'], op.get('error'))
            print(json.dumps(op['details'], indent=2))
        assert [op['type'] for op in doc.get_operations()] == ['ADD', 'UPLOAD']
        assert [op['status'] for op in doc.get_route_operations()] == ['success']

    asyncio.run(main())
"""

CSV = """
    import csv
    from pathlib import Path
    from docex import DocEX
    from docex.context import UserContext
    from docex.processors.factory import factory
    from docex.processors.csv_to_json import CSVToJSONProcessor

    docEX = DocEX(user_context=UserContext(user_id="p", tenant_id="example_tenant", roles=["user"]))
    with open('test_data.csv', 'w', newline='') as f:
        writer = csv.DictWriter(f, fieldnames=['name', 'age'])
        writer.writeheader()
        writer.writerows([{'name': 'John Doe', 'age': '30'}, {'name': 'Jane Smith', 'age': '25'}])
    try:
        basket = docEX.create_basket("test_basket")
    except ValueError:
        basket = next((b for b in docEX.list_baskets() if b.name == "test_basket"), None)
    document = basket.add('test_data.csv')
    factory.register(CSVToJSONProcessor)
    processor = CSVToJSONProcessor(config={
        'delimiter': ',', 'quotechar': '"', 'encoding': 'utf-8', 'include_header': True, 'output_format': 'records'})
    result = processor.process(document)
    assert result.success, result.error
    print(result.content, result.metadata)
    assert Path(result.content).exists()
"""

PDF = """
    from docex import DocEX
    from docex.context import UserContext
    from docex.processors.factory import factory

    docEX = DocEX(user_context=UserContext(user_id="p", tenant_id="example_tenant", roles=["processor"]))
    basket = docEX.basket('invoice')
    doc = basket.add('invoice.pdf', metadata={'biz_doc_type': 'invoice'})
    processor_cls = factory.map_document_to_processor(doc)
    processor = processor_cls(config={})
    result = processor.process(doc)
    assert result.success, result.error
    print(result.content, result.metadata)
    assert doc.get_metadata()['cus_PO'] == '2001321'
    assert basket.find_documents_by_metadata({'cus_PO': '2001321'})[0].id == doc.id
"""

WORD = """
    import asyncio
    from pathlib import Path
    from docx import Document as DocxDocument
    from docex import DocEX
    from docex.context import UserContext
    from docex.processors.factory import factory
    from docex.processors.word_to_text import WordToTextProcessor

    doc = DocxDocument()
    doc.add_heading('Sample Document', level=1)
    doc.add_paragraph('It has a table.')
    table = doc.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = 'John Doe', 'Engineer'
    doc.save('test_document.docx')
    docEX = DocEX(user_context=UserContext(user_id="p", tenant_id="example_tenant", roles=["user"]))
    document = docEX.basket("word_test_basket").add('test_document.docx')
    factory.register(WordToTextProcessor)
    processor = WordToTextProcessor(config={
        'encoding': 'utf-8', 'preserve_formatting': True, 'extract_tables': True})
    result = asyncio.run(processor.process(document))
    assert result.success, result.error
    for key, value in result.metadata.items():
        print(f"  {key}: {value}")
    with open(Path(result.content), encoding='utf-8') as f:
        assert 'Engineer' in f.read()
"""

CUSTOM = """
    import io
    from docex import DocEX
    from docex.document import Document
    from docex.processors.base import BaseProcessor, ProcessingResult
    from docex.processors.factory import factory
    from pdfminer.high_level import extract_text

    class MyPDFTextProcessor(BaseProcessor):
        def can_process(self, document: Document) -> bool:
            return document.name.lower().endswith('.pdf')

        def process(self, document: Document) -> ProcessingResult:
            try:
                text = extract_text(io.BytesIO(document.get_content(mode='bytes')))
                return ProcessingResult(success=True, content=text, metadata={'length': len(text)})
            except Exception as e:
                return ProcessingResult(success=False, error=f"Failed to process PDF: {e}")

    def pdf_rule(document):
        if document.name.lower().endswith('.pdf'):
            return MyPDFTextProcessor
        return None

    factory.mapper.rules.insert(0, pdf_rule)
    docex = DocEX()
    doc = docex.basket('custom_pdf').add('invoice.pdf')
    processor_cls = factory.map_document_to_processor(doc)
    assert processor_cls is MyPDFTextProcessor
    result = processor_cls(config={}).process(doc)
    assert result.success and '2001321' in result.content, result.error
    for key, value in result.metadata.items():
        print(f"{key}: {value}")
"""

CHUNKING = """
    import asyncio
    from docex.processors.chunking import (
        ChunkingFactory, ChunkingConfig, FixedSizeChunking, RecursiveChunking, DocumentBasedChunking,
        HierarchicalChunking)

    text = "# One\\n\\n" + "A sentence of some words. " * 40 + "\\n\\n## Two\\n\\n" + "More of them, too. " * 30
    config = ChunkingConfig(chunk_size=200, chunk_overlap=20)
    for kind in (FixedSizeChunking, RecursiveChunking, DocumentBasedChunking, HierarchicalChunking):
        chunks = asyncio.run(kind(config).chunk(text, {'source': 'x'}))
        assert len(chunks) > 3
        for chunk in chunks:
            assert text[chunk.start_idx:chunk.end_idx] == chunk.content
            assert 0 < chunk.size <= 200 and chunk.token_count and chunk.metadata['source'] == 'x'
    for name, about in ChunkingFactory.list_strategies().items():
        print(name, about, len(asyncio.run(ChunkingFactory.create(name, config).chunk(text))))
"""

TENANTS = """
    from docex import DocEX
    from docex.context import UserContext

    docex1 = DocEX(user_context=UserContext(user_id="alice", tenant_id="acme-corp"))
    basket1 = docex1.create_basket("invoices")
    docex2 = DocEX(user_context=UserContext(user_id="bob", tenant_id="globex-corp"))
    basket2 = docex2.create_basket("invoices", storage_config={'type': 'filesystem', 'path': 'storage/own'})
    with open("invoice.txt", "w") as f:
        f.write("Amount: $1000")
    doc1, doc2 = basket1.add("invoice.txt"), basket2.add("invoice.txt")
    assert [b.id for b in docex1.list_baskets()] == [basket1.id]
    assert [b.id for b in docex2.list_baskets()] == [basket2.id]
    assert docex2.get_basket(basket1.id) is None
    assert docex2.get_document(doc1.id) is None and docex1.get_document(doc2.id) is None
"""

ASSIGNED = """
    from docex import DocEX
    from docex.context import UserContext
    from docex.db.connection import Database
    from docex.db.tenant_database_manager import TenantDatabaseManager

    opened = {}
    for tenant_id in ("tenant1", "tenant2"):
        db = Database(tenant_id=tenant_id)
        docEX = DocEX()
        docEX.db = db
        docEX.user_context = UserContext(user_id="alice", tenant_id=tenant_id, user_email="alice@example.com")
        basket = docEX.create_basket(
            f"{tenant_id}_invoices", storage_config={'type': 'filesystem', 'path': f'storage/{tenant_id}/baskets'})
        with open("amount.txt", "w") as f:
            f.write(f"Invoice of {tenant_id}")
        opened[tenant_id] = docEX, basket, basket.add("amount.txt")
    (docEX1, basket1, doc1), (docEX2, basket2, doc2) = opened.values()
    assert docEX2.get_basket(basket1.id) is None and docEX2.get_document(doc1.id) is None
    assert [b.name for b in docEX1.list_baskets()] == ["tenant1_invoices"]
    assert doc1.get_details()["created_by"] == "alice"
    for wrong in (lambda: setattr(docEX1, "db", docEX2.db),
                  lambda: setattr(docEX1, "user_context", UserContext("bob", tenant_id="tenant2"))):
        try:
            wrong()
        except ValueError as error:
            assert "Cannot switch tenant from 'tenant1' to 'tenant2'" in str(error)
        else:
            raise AssertionError("one tenant's object took another's")
    later = Database()
    try:
        later.session()
    except ValueError as error:
        assert "no default tenant" in str(error)
    later.tenant_id = "tenant1"
    from docex.docbasket import DocBasket
    assert [b.id for b in DocBasket._list_all_baskets(db=later)] == [basket1.id]
    try:
        later.tenant_id = "tenant2"
        raise AssertionError("one tenant's database became another's")
    except ValueError:
        assert later.tenant_id == "tenant1"
    manager = TenantDatabaseManager()
    assert manager.list_tenant_databases() == ["tenant1", "tenant2"]
    manager.close_tenant_connection("tenant1")
    assert manager.list_tenant_databases() == ["tenant2"]
    assert doc1.get_content(mode='text') == "Invoice of tenant1"
    with manager.tenant_transaction("tenant2") as session:
        from docex.db.models import DocBasket
        assert [b.id for b in session.query(DocBasket)] == [basket2.id]
    manager.close_all_connections()
    assert manager.list_tenant_databases() == []
"""

LOWER = """
    from sqlalchemy import text
    from docex import DocEX
    from docex.db.connection import Database, Base
    from docex.db.models import DocBasket, Document as DocumentModel
    from docex.models.document_metadata import DocumentMetadata
    from docex.processors.base import ProcessingResult
    from docex.services.document_service import DocumentService
    from docex.services.metadata_service import MetadataService
    from docex.transport.local import LocalTransport
    from docex.transport.models import Route
    from docex.transport.transporter_factory import TransporterFactory

    db = Database()
    Base.metadata.create_all(db.get_engine())
    docEX = DocEX()
    with db.session() as session:
        session.query(Route).delete()
        session.commit()
        assert session.query(Route).count() == 0
    basket = docEX.basket('lower')
    with open('one.txt', 'w') as f:
        f.write('one')
    doc, other = basket.add('one.txt'), None
    MetadataService().update_metadata(doc.id, {'key': 'value'})
    assert MetadataService(db).get_metadata(doc.id)['key'] == 'value'
    service = DocumentService(db, basket.id)
    assert [(e.original_path, e.internal_path) for e in service.get_file_history(doc.id)] == [('one.txt', doc.path)]
    info = service.check_for_duplicates('one.txt', doc.checksum)
    assert (info['is_duplicate'], info['original_document_id']) == (True, doc.id)
    assert not service.check_for_duplicates('two.txt', doc.checksum)['is_duplicate']
    with open('two.txt', 'w') as f:
        f.write('one')
    other = basket.add('two.txt')
    service.mark_as_duplicate(other.id, doc.id)
    assert basket.get_document(other.id).status == 'DUPLICATE'
    events = db.fetch_all("SELECT data FROM doc_events WHERE event_type = :type", {'type': 'DUPLICATE_DETECTED'})
    assert len(events) == 1 and doc.id in str(events[0]['data'])
    assert db.fetch_one("SELECT count(*) AS n FROM document") == {'n': 2}
    assert db.fetch_one(text("SELECT id FROM document WHERE name = 'none'")) is None
    assert db.execute("UPDATE document SET document_type = 'x' WHERE id = :id", {'id': doc.id}).rowcount == 1
    try:
        with db.transaction() as session:
            session.query(DocBasket).filter_by(id=basket.id).update({'description': 'new'})
            raise LookupError
    except LookupError:
        pass
    session = db.get_session()
    assert session.get(DocBasket, basket.id).description is None
    assert session.query(DocumentModel).filter_by(document_type='x').one().id == doc.id
    session.close()
    assert docEX.db.fetch_one("SELECT count(*) AS n FROM docbasket") == {'n': 1}
    po = DocumentMetadata(extra={'value': '7'})
    assert DocumentMetadata.from_dict(po.to_dict()) == po
    assert ProcessingResult(success=True, metadata={'po': po}).metadata_dict()['po'].extra['value'] == '7'
"""

SINGLE = {"hello world": [HELLO], "basic usage": [BASIC], "custom processor": [CUSTOM], "chunking": [CHUNKING]}
SINGLE |= {"lower level": [LOWER]}
SINGLE |= {"route transfer": [ROUTE_MANAGEMENT, FILE_TRANSFER], "csv": [CSV], "pdf": [PDF], "word": [WORD]}


def ran(installation: Installation, scripts: list[str]) -> None:
    installation.file("invoice.pdf", (Path(__file__).parent / "invoice.pdf").read_bytes())
    for script in scripts:
        (installation.directory / "script.py").write_text(dedent(script))
        result = installation.command([sys.executable, "script.py"])
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", SINGLE)
def test_the_public_example_runs(installation: Installation, name: str) -> None:
    assert installation.run("init").returncode == 0
    ran(installation, SINGLE[name])


def test_the_public_example_of_several_tenants_runs(anywhere: Installation) -> None:
    ran(anywhere.setup(), [TENANTS, ASSIGNED])


@pytest.mark.slow
def test_the_public_examples_run_for_a_tenant_too(on_postgres: Installation) -> None:
    ran(on_postgres.setup(), [BASIC, ROUTE_MANAGEMENT, FILE_TRANSFER, CSV])
