"""The eleven tables of a tenant."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and their indexes."""
    op.create_table(
        "docbasket",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("storage_config", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(50), nullable=False, server_default="active"),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_docbasket")),
        sa.UniqueConstraint("name", name=op.f("uq_docbasket_name")),
    )
    op.create_index("ix_docbasket_status", "docbasket", ["status"])
    op.create_index("ix_docbasket_created_at", "docbasket", [sa.text("created_at DESC")])
    op.create_table(
        "document",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("basket_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("content_type", sa.String(100), nullable=True),
        sa.Column("document_type", sa.String(50), nullable=False, server_default="file"),
        sa.Column("content", sa.JSON(), nullable=True),
        sa.Column("raw_content", sa.Text(), nullable=True),
        sa.Column("size", sa.Integer(), nullable=True),
        sa.Column("checksum", sa.String(64), nullable=False),
        sa.Column("status", sa.String(50), nullable=False, server_default="active"),
        sa.Column("processing_attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document")),
        sa.ForeignKeyConstraint(["basket_id"], ["docbasket.id"], name=op.f("fk_document_basket_id_docbasket")),
    )
    op.create_index("ix_document_basket_id", "document", ["basket_id"])
    op.create_index("ix_document_document_type", "document", ["document_type"])
    op.create_index("ix_document_status", "document", ["status"])
    op.create_index("ix_document_basket_id_status", "document", ["basket_id", "status"])
    op.create_index("ix_document_basket_id_document_type", "document", ["basket_id", "document_type"])
    op.create_index("ix_document_basket_id_created_at", "document", ["basket_id", sa.text("created_at DESC")])
    op.create_index("ix_document_basket_id_updated_at", "document", ["basket_id", sa.text("updated_at DESC")])
    op.create_index("ix_document_basket_id_name", "document", ["basket_id", "name"])
    op.create_index("ix_document_basket_id_checksum", "document", ["basket_id", "checksum"])
    op.create_table(
        "document_metadata",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("document_id", sa.String(36), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("metadata_type", sa.String(50), nullable=False, server_default="custom"),
        sa.Column("coordination_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document_metadata")),
        sa.ForeignKeyConstraint(
            ["document_id"], ["document.id"], name=op.f("fk_document_metadata_document_id_document")
        ),
    )
    op.create_index("ix_document_metadata_document_id", "document_metadata", ["document_id"])
    op.create_index("ix_document_metadata_key", "document_metadata", ["key"])
    op.create_index("ix_document_metadata_metadata_type", "document_metadata", ["metadata_type"])
    op.create_index("ix_document_metadata_document_id_key", "document_metadata", ["document_id", "key"], unique=True)
    op.create_index("ix_document_metadata_key_value", "document_metadata", ["key", sa.text("substr(value, 1, 256)")])
    op.create_table(
        "file_history",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("document_id", sa.String(36), nullable=False),
        sa.Column("original_path", sa.Text(), nullable=True),
        sa.Column("internal_path", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file_history")),
        sa.ForeignKeyConstraint(["document_id"], ["document.id"], name=op.f("fk_file_history_document_id_document")),
    )
    op.create_index("ix_file_history_document_id", "file_history", ["document_id"])
    op.create_table(
        "operations",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("document_id", sa.String(36), nullable=False),
        sa.Column("operation_type", sa.String(100), nullable=False),
        sa.Column("status", sa.String(50), nullable=False),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("completed_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
        sa.ForeignKeyConstraint(
            ["document_id"], ["document.id"], name=op.f("fk_operations_document_id_document"), ondelete="CASCADE"
        ),
    )
    op.create_index("ix_operations_document_id", "operations", ["document_id"])
    op.create_index("ix_operations_operation_type", "operations", ["operation_type"])
    op.create_index("ix_operations_status", "operations", ["status"])
    op.create_table(
        "operation_dependencies",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("operation_id", sa.String(36), nullable=False),
        sa.Column("depends_on", sa.String(36), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operation_dependencies")),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["operations.id"],
            name=op.f("fk_operation_dependencies_operation_id_operations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["depends_on"],
            ["operations.id"],
            name=op.f("fk_operation_dependencies_depends_on_operations"),
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint(
            "operation_id", "depends_on", name=op.f("uq_operation_dependencies_operation_id_depends_on")
        ),
    )
    op.create_index("ix_operation_dependencies_operation_id", "operation_dependencies", ["operation_id"])
    op.create_index("ix_operation_dependencies_depends_on", "operation_dependencies", ["depends_on"])
    op.create_table(
        "doc_events",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("basket_id", sa.String(36), nullable=False),
        sa.Column("document_id", sa.String(36), nullable=True),
        sa.Column("event_type", sa.String(50), nullable=False),
        sa.Column("event_timestamp", sa.DateTime(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=True),
        sa.Column("source", sa.String(50), nullable=False, server_default="docex"),
        sa.Column("status", sa.String(20), nullable=False, server_default="PENDING"),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_doc_events")),
        sa.ForeignKeyConstraint(
            ["basket_id"], ["docbasket.id"], name=op.f("fk_doc_events_basket_id_docbasket"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["document_id"], ["document.id"], name=op.f("fk_doc_events_document_id_document"), ondelete="NO ACTION"
        ),
    )
    op.create_index("ix_doc_events_basket_id", "doc_events", ["basket_id"])
    op.create_index("ix_doc_events_event_type", "doc_events", ["event_type"])
    op.create_index("ix_doc_events_document_id", "doc_events", ["document_id"])
    op.create_index("ix_doc_events_event_timestamp", "doc_events", ["event_timestamp"])
    op.create_index("ix_doc_events_status", "doc_events", ["status"])
    op.create_table(
        "processors",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("type", sa.String(50), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False, server_default=sa.text("true")),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_processors")),
        sa.UniqueConstraint("name", name=op.f("uq_processors_name")),
    )
    op.create_table(
        "processing_operations",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("document_id", sa.String(36), nullable=False),
        sa.Column("processor_id", sa.String(36), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("input_metadata", sa.JSON(), nullable=True),
        sa.Column("output_metadata", sa.JSON(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("completed_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_processing_operations")),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["document.id"],
            name=op.f("fk_processing_operations_document_id_document"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["processor_id"],
            ["processors.id"],
            name=op.f("fk_processing_operations_processor_id_processors"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_processing_operations_document_id", "processing_operations", ["document_id"])
    op.create_table(
        "transport_routes",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("purpose", sa.String(50), nullable=False),
        sa.Column("protocol", sa.String(50), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("can_upload", sa.Boolean(), nullable=False),
        sa.Column("can_download", sa.Boolean(), nullable=False),
        sa.Column("can_list", sa.Boolean(), nullable=False),
        sa.Column("can_delete", sa.Boolean(), nullable=False),
        sa.Column("other_party_id", sa.String(255), nullable=True),
        sa.Column("other_party_name", sa.String(255), nullable=True),
        sa.Column("other_party_type", sa.String(50), nullable=True),
        sa.Column("route_metadata", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transport_routes")),
        sa.UniqueConstraint("name", name=op.f("uq_transport_routes_name")),
    )
    op.create_table(
        "route_operations",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("route_id", sa.String(36), nullable=False),
        sa.Column("operation_type", sa.String(50), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("document_id", sa.String(255), nullable=True),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("completed_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_route_operations")),
        sa.ForeignKeyConstraint(
            ["route_id"],
            ["transport_routes.id"],
            name=op.f("fk_route_operations_route_id_transport_routes"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_route_operations_route_id", "route_operations", ["route_id"])
    op.create_index("ix_route_operations_document_id", "route_operations", ["document_id"])


def downgrade() -> None:
    """Remove the tables, with all documents' records."""
    op.drop_table("route_operations")
    op.drop_table("transport_routes")
    op.drop_table("processing_operations")
    op.drop_table("processors")
    op.drop_table("doc_events")
    op.drop_table("operation_dependencies")
    op.drop_table("operations")
    op.drop_table("file_history")
    op.drop_table("document_metadata")
    op.drop_table("document")
    op.drop_table("docbasket")
