"""What users import, and what every error promises."""

from __future__ import annotations

import importlib
import inspect
import pickle
import subprocess
import sys

import pytest

import docex
from docex import errors
from docex.cli.output import _cell
from docex.context import UserContext
from docex.models.metadata_keys import MetadataKey

CELLS = [(["editor", "reader"], "editor, reader"), ({"RECEIVED": 5}, '{"RECEIVED": 5}'), (None, ""), ("a\nb", "a b")]

PROMISED = {
    "docex": ["DocEX", "DocEXConfig", "BasketRecord", "DocumentRecord", "UserContext", "__version__"],
    "docex.context": ["UserContext"],
    "docex.document": ["Document"],
    "docex.docbasket": ["DocBasket"],
    "docex.config.docex_config": ["DocEXConfig"],
    "docex.models.metadata_keys": ["MetadataKey"],
    "docex.models.document_metadata": ["DocumentMetadata"],
    "docex.models.records": ["BasketRecord", "DocumentRecord"],
    "docex.db": ["Database", "TenantDatabaseManager", "TenantRegistry"],
    "docex.db.connection": ["Base", "Database", "get_base"],
    "docex.db.models": ["DocBasket", "DocEvent", "Document", "DocumentMetadata", "FileHistory", "Operation"],
    "docex.db.tenant_database_manager": ["TenantDatabaseManager"],
    "docex.processors.base": ["BaseProcessor", "ProcessingResult"],
    "docex.processors.factory": ["factory"],
    "docex.processors.csv_to_json": ["CSVToJSONProcessor"],
    "docex.processors.pdf_to_text": ["MatchingInvoiceToPOProcessor"],
    "docex.processors.word_to_text": ["WordToTextProcessor"],
    "docex.processors.chunking": ["Chunk", "ChunkingConfig", "ChunkingFactory"],
    "docex.processors.chunking.base": ["Chunk", "ChunkingConfig", "ChunkingStrategy"],
    "docex.processors.chunking.document_based": ["DocumentBasedChunking"],
    "docex.processors.chunking.fixed_size": ["FixedSizeChunking"],
    "docex.processors.chunking.hierarchical": ["HierarchicalChunking"],
    "docex.processors.chunking.recursive": ["RecursiveChunking"],
    "docex.services.docbasket_service": ["DocBasketService"],
    "docex.services.document_service": ["DocumentService"],
    "docex.services.metadata_service": ["MetadataService"],
    "docex.services.storage_service": ["StorageService"],
    "docex.storage.abstract_storage": ["AbstractStorage"],
    "docex.storage.filesystem_storage": ["FileSystemStorage"],
    "docex.storage.s3_storage": ["S3Storage"],
    "docex.storage.storage_factory": ["StorageFactory"],
    "docex.transport": ["BaseTransporter", "HTTPTransport", "LocalTransport", "Route", "SFTPTransport"],
    "docex.transport.config": ["LocalTransportConfig", "OtherParty", "RouteConfig", "TransportType"],
    "docex.transport.models": ["Base", "Route", "RouteOperation"],
    "docex.transport.transport_result": ["TransportResult"],
    "docex.transport.transporter_factory": ["TransporterFactory"],
    "docex.provisioning": ["BootstrapTenantManager", "TenantProvisioner"],
    "docex.provisioning.bootstrap": ["BootstrapTenantManager"],
    "docex.provisioning.tenant_provisioner": [
        "TenantExistsError",
        "TenantProvisioningError",
        "InvalidTenantIdError",
    ],
}


@pytest.mark.parametrize("module", PROMISED)
def test_promised_names_can_be_imported(module: str) -> None:
    found = importlib.import_module(module)
    for name in PROMISED[module]:
        assert getattr(found, name)


def test_the_package_offers_these_names_and_no_other() -> None:
    assert sorted(docex.__all__) == sorted(PROMISED["docex"])
    with pytest.raises(AttributeError, match="no attribute 'Docex'"):
        _ = docex.Docex  # type: ignore[attr-defined]


def test_help_loads_no_database_library() -> None:
    heavy = "sqlalchemy alembic psycopg pydantic ruamel rich.table"
    code = f"""
import sys
sys.argv = ["docex", "--help"]
from docex.cli import main
try:
    main()
except SystemExit:
    pass
print([name for name in {heavy.split()!r} if name in sys.modules], file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.strip() == "[]"
    assert "provision-tenant" in ran.stdout


def all_errors() -> list[type[errors.DocexError]]:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.DocexError)]
    return sorted(kinds, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", all_errors())
def test_errors_survive_pickling_and_say_something(kind: type[errors.DocexError]) -> None:
    for error in (kind(), kind("acme", "reason")):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is kind
        assert copy.args == error.args
    assert len(str(kind("acme", "reason"))) > 3


def test_every_error_stands_in_the_modules_tree() -> None:
    for kind in all_errors():
        assert kind.__name__ in (errors.__doc__ or "")
        assert kind.__doc__


def test_built_in_types_are_kept() -> None:
    assert issubclass(errors.NotInitialized, RuntimeError)
    assert issubclass(errors.BasketExists, ValueError)
    assert issubclass(errors.TenantRequired, ValueError)
    assert issubclass(errors.DocumentNotFound, ValueError)
    assert issubclass(errors.ContentMissing, FileNotFoundError)
    assert issubclass(errors.FileMissing, FileNotFoundError)


def test_user_context() -> None:
    context = UserContext("alice", roles=["admin"], attributes={"team": 3})
    assert context.has_role("admin")
    assert not context.has_role("owner")
    assert not UserContext("bob").has_role("admin")
    assert (context.get_attribute("team"), context.get_attribute("none", 4)) == (3, 4)
    assert UserContext("bob").get_attribute("team") is None


def test_metadata_keys_by_name() -> None:
    assert docex.DocEX.get_metadata_keys()["ORIGINAL_FILENAME"] == "original_filename"
    assert docex.DocEX.is_valid_metadata_key("FILE_SIZE")
    assert not docex.DocEX.is_valid_metadata_key("file_size")
    assert {key.value for key in MetadataKey} == set(docex.DocEX.get_metadata_keys().values())


@pytest.mark.parametrize(("value", "shown"), CELLS)
def test_a_cell_of_a_table_is_written_for_people(value: object, shown: str) -> None:
    assert _cell(value) == shown
