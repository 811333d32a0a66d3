"""What users of the public package call and configure by name, one test for each: methods with their arguments, keys of
the configuration, fields of routes.

Companion of ``test_contract.py``; nothing is run here, only looked at.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

from docex import DocEX

METHODS = {
    "docex.DocEX.setup": "**config",
    "docex.DocEX.setup_database": "db_type is_default_db **config",
    "docex.DocEX.is_initialized": "",
    "docex.DocEX.is_properly_setup": "",
    "docex.DocEX.get_setup_errors": "",
    "docex.DocEX.get_defaults": "",
    "docex.DocEX.get_config": "",
    "docex.DocEX.get_metadata_keys": "",
    "docex.DocEX.is_valid_metadata_key": "key",
    "docex.DocEX.create_basket": "name description storage_config",
    "docex.DocEX.basket": "basket_name description storage_config",
    "docex.DocEX.get_basket": "basket_id basket_name",
    "docex.DocEX.list_baskets": "status limit offset order_by order_desc",
    "docex.DocEX.list_baskets_with_metadata": "columns filters limit offset order_by order_desc",
    "docex.DocEX.get_document": "document_id basket_id basket_name",
    "docex.DocEX.close": "",
    "docex.DocEX.reset": "",
    "docex.DocEX.create_route": "name transport_type config purpose can_upload can_download can_list can_delete enabled"
    " other_party",
    "docex.DocEX.get_route": "name",
    "docex.DocEX.list_routes": "purpose transport_type enabled",
    "docex.DocEX.delete_route": "name",
    "docex.DocEX.get_available_transport_types": "",
    "docex.DocEX.send_document": "document_id route_name destination basket_id basket_name",
    "docex.docbasket.DocBasket.add": "file_path document_type metadata",
    "docex.docbasket.DocBasket.list_documents": "limit offset order_by order_desc status document_type",
    "docex.docbasket.DocBasket.list_documents_with_metadata": "columns filters limit offset order_by order_desc",
    "docex.docbasket.DocBasket.count_documents": "status document_type",
    "docex.docbasket.DocBasket.find_documents_by_metadata": "metadata limit offset order_by order_desc",
    "docex.docbasket.DocBasket.find_documents_by_metadata_with_metadata": "metadata columns limit offset order_by"
    " order_desc",
    "docex.docbasket.DocBasket.count_documents_by_metadata": "metadata",
    "docex.docbasket.DocBasket.get_document": "document_id",
    "docex.docbasket.DocBasket.update_document": "document_id file_path",
    "docex.docbasket.DocBasket.delete_document": "document_id",
    "docex.docbasket.DocBasket.delete": "",
    "docex.docbasket.DocBasket.get_stats": "",
    "docex.docbasket.DocBasket.get_basket_path": "",
    "docex.docbasket.DocBasket.create": "name description storage_config",
    "docex.docbasket.DocBasket.get": "basket_id db",
    "docex.docbasket.DocBasket.find_by_name": "name db",
    "docex.docbasket.DocBasket.list": "*arguments",
    "docex.document.Document.get_content": "mode",
    "docex.document.Document.get_details": "",
    "docex.document.Document.get_metadata": "",
    "docex.document.Document.get_metadata_dict": "",
    "docex.document.Document.update_metadata": "metadata",
    "docex.document.Document.create_operation": "operation_type status details",
    "docex.document.Document.get_operations": "",
    "docex.document.Document.get_route_operations": "",
    "docex.document.Document.remove_from_basket": "",
    "docex.context.UserContext.has_role": "role",
    "docex.context.UserContext.get_attribute": "key default",
    "docex.provisioning.TenantProvisioner.create": "tenant_id display_name created_by isolation_strategy",
    "docex.provisioning.TenantProvisioner.tenant_exists": "tenant_id",
    "docex.provisioning.TenantProvisioner.validate_tenant_id": "tenant_id",
    "docex.provisioning.TenantProvisioner.is_system_tenant": "tenant_id",
    "docex.provisioning.BootstrapTenantManager.initialize": "created_by",
    "docex.provisioning.BootstrapTenantManager.is_initialized": "",
    "docex.provisioning.BootstrapTenantManager.get_bootstrap_tenant": "",
    "docex.transport.route.Route.upload": "file_path destination_path",
    "docex.transport.route.Route.download": "file_path destination_path",
    "docex.transport.route.Route.list_files": "path",
    "docex.transport.route.Route.delete": "file_path",
    "docex.transport.route.Route.validate": "",
    "docex.transport.route.Route.upload_document": "document",
    "docex.transport.route.Route.to_dict": "",
    "docex.db.connection.Database.session": "",
    "docex.db.connection.Database.transaction": "",
    "docex.db.connection.Database.get_engine": "",
    "docex.db.connection.Database.execute": "query params",
    "docex.db.connection.Database.fetch_one": "query params",
    "docex.db.connection.Database.fetch_all": "query params",
    "docex.db.connection.Database.close": "",
    "docex.db.tenant_database_manager.TenantDatabaseManager.get_tenant_engine": "tenant_id",
    "docex.db.tenant_database_manager.TenantDatabaseManager.close_tenant_connection": "tenant_id",
    "docex.db.tenant_database_manager.TenantDatabaseManager.close_all_connections": "",
    "docex.db.tenant_database_manager.TenantDatabaseManager.list_tenant_databases": "",
    "docex.services.document_service.DocumentService.check_for_duplicates": "source checksum",
    "docex.services.document_service.DocumentService.mark_as_duplicate": "document_id original_document_id",
    "docex.services.document_service.DocumentService.get_file_history": "document_id",
    "docex.services.metadata_service.MetadataService.get_metadata": "document_id",
    "docex.services.metadata_service.MetadataService.update_metadata": "document_id metadata",
    "docex.services.metadata_service.MetadataService.delete_metadata": "document_id keys",
    "docex.processors.base.BaseProcessor.can_process": "document",
    "docex.processors.base.BaseProcessor.process": "document",
    "docex.processors.base.BaseProcessor.get_document_bytes": "document",
    "docex.processors.base.BaseProcessor.get_document_text": "document",
    "docex.processors.base.BaseProcessor.get_document_json": "document",
    "docex.processors.factory.factory.register": "processor_class",
    "docex.processors.factory.factory.get_processor": "name db",
    "docex.processors.factory.factory.list_processors": "",
    "docex.processors.factory.factory.map_document_to_processor": "document",
    "docex.storage.storage_factory.StorageFactory.register_storage": "name storage_class",
    "docex.storage.storage_factory.StorageFactory.create_storage": "config",
    "docex.services.storage_service.StorageService.store_document": "source_path full_document_path",
    "docex.services.storage_service.StorageService.retrieve_document": "full_document_path",
    "docex.services.storage_service.StorageService.delete_document": "full_document_path",
    "docex.services.storage_service.StorageService.get_storage_path": "",
    "docex.services.storage_service.StorageService.cleanup": "prefix",
}

STORAGE_METHODS = {
    "save": "path content",
    "load": "path",
    "store": "source_path document_path",
    "retrieve": "path",
    "delete": "path",
    "exists": "path",
    "create_directory": "path",
    "list_directory": "path",
    "get_metadata": "path",
    "set_metadata": "path metadata",
    "get_url": "path expires_in",
    "copy": "source_path dest_path",
    "move": "source_path dest_path",
    "cleanup": "prefix",
    "ensure_storage_exists": "",
}
for _kind in ("filesystem_storage.FileSystemStorage", "s3_storage.S3Storage"):
    METHODS |= {f"docex.storage.{_kind}.{name}": given for name, given in STORAGE_METHODS.items()}


def found(path: str) -> Any:
    """What stands under a dotted path, the module being its longest part that is one."""
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            value = getattr(value, part)
        return value
    raise LookupError(path)


@pytest.mark.parametrize("method", METHODS)
def test_the_method(method: str) -> None:
    promised = METHODS[method].split()
    parameters = [p for p in inspect.signature(found(method)).parameters.values() if p.name != "self"]
    stars: dict[Any, str] = {inspect.Parameter.VAR_KEYWORD: "**", inspect.Parameter.VAR_POSITIONAL: "*"}
    given = [stars.get(p.kind, "") + p.name for p in parameters]
    assert given[: len(promised)] == promised
    # What came later may be left out.
    for parameter in parameters[len(promised) :]:
        assert parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        )


KEYS: dict[str, Any] = {
    "database.type": "sqlite",
    "database.sqlite.path": "docex.db",
    "database.sqlite.path_template": "storage/tenant_{tenant_id}/docex.db",
    "database.postgres.host": "localhost",
    "database.postgres.port": 5432,
    "database.postgres.database": "docex",
    "database.postgres.user": "postgres",
    "database.postgres.password": "postgres",
    "database.postgres.schema_template": "tenant_{tenant_id}",
    "database.postgres.sslmode": "prefer",
    "database.pool_size": 5,
    "database.max_overflow": 10,
    "security.multi_tenancy_model": "row_level",
    "security.tenant_database_routing": False,
    "security.enforce_user_context": False,
    "multi_tenancy.enabled": False,
    "storage.type": "filesystem",
    "storage.filesystem.path": "storage/docex",
    "storage.s3.bucket": None,
    "storage.s3.bucket_application": None,
    "storage.s3.region": "us-east-1",
    "storage.s3.path_namespace": "",
    "storage.s3.prefix": "",
    "storage.s3.access_key": None,
    "storage.s3.secret_key": None,
    "storage.s3.session_token": None,
    "storage.s3.max_retries": 3,
    "storage.s3.connect_timeout": 60,
    "storage.s3.read_timeout": 60,
    "logging.level": "INFO",
    "logging.file": None,
}


@pytest.mark.parametrize("key", KEYS)
def test_the_configuration_key(key: str) -> None:
    value: Any = DocEX.get_defaults()
    for part in key.split("."):
        value = value[part]
    assert value == KEYS[key]


ROUTES: dict[str, Any] = {
    "local.create_dirs": True,
    "local.enabled": True,
    "local.retry_count": 3,
    "local.timeout": 30,
    "local.metadata": {},
    "sftp.port": 22,
    "sftp.password": None,
    "sftp.key_file": None,
    "http.method": "POST",
    "http.headers": {},
    "http.auth": None,
    "http.verify_ssl": True,
}
LEAST: dict[str, dict[str, Any]] = {
    "local": {"base_path": "/srv/files"},
    "sftp": {"host": "h", "username": "u", "key_file": None, "password": None, "remote_path": "/in"},
    "http": {"endpoint": "https://example.com/inbox"},
}


@pytest.mark.parametrize("field", ROUTES)
def test_the_field_of_a_route(field: str) -> None:
    from docex.transport.config import HTTPTransportConfig, LocalTransportConfig, SFTPTransportConfig

    kind, name = field.split(".")
    classes: dict[str, Any] = {"local": LocalTransportConfig, "sftp": SFTPTransportConfig, "http": HTTPTransportConfig}
    assert set(LEAST[kind]) <= set(classes[kind].model_fields)
    assert classes[kind].model_fields[name].get_default(call_default_factory=True) == ROUTES[field]
