"""Contents kept once, usage and quotas, full-text search, the audit trail, and who made each change."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WORD = sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")

USERS = {
    "docbasket": ("created_by", "updated_by"),
    "document": ("created_by", "updated_by"),
    "document_metadata": ("updated_by",),
    "file_history": ("user_id",),
    "operations": ("user_id",),
    "doc_events": ("user_id",),
    "processing_operations": ("user_id",),
    "route_operations": ("user_id",),
}
COLUMNS = {
    "document": (
        sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("place", sa.String(255), nullable=True),
        sa.Column("dedup_key", sa.String(64), nullable=True),
    ),
    "document_metadata": (
        sa.Column("number", sa.Double(), nullable=True),
        sa.Column("word", WORD, nullable=True),
    ),
    "file_history": (
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("place", sa.String(255), nullable=True),
        sa.Column("checksum", sa.String(64), nullable=True),
        sa.Column("size", BIG, nullable=True),
    ),
    "doc_events": (
        sa.Column("idempotency_key", sa.String(255), nullable=True),
        sa.Column("claimed_by", sa.String(255), nullable=True),
        sa.Column("claimed_until", sa.DateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
    ),
}
INDEXES = (
    ("ix_document_dedup_key_basket_id", "document", ["dedup_key", "basket_id"], True),
    ("ix_document_metadata_key_number", "document_metadata", ["key", "number"], False),
    ("ix_document_metadata_key_word", "document_metadata", ["key", "word"], False),
    ("ix_doc_events_idempotency_key", "doc_events", ["idempotency_key"], True),
)


def upgrade() -> None:
    """Add tables and columns. Documents of revision 0001 stay readable: they name no place."""
    on_postgres = op.get_bind().dialect.name == "postgresql"
    for table, columns in COLUMNS.items():
        for column in columns:
            op.add_column(
                table,
                sa.Column(column.name, column.type, nullable=column.nullable, server_default=column.server_default),
            )
    for table, names in USERS.items():
        for name in names:
            op.add_column(table, sa.Column(name, sa.String(255), nullable=True))
    for name, table, indexed, unique in INDEXES:
        only = sa.text(f"{indexed[-1]} IS NOT NULL") if table == "document_metadata" else None
        op.create_index(name, table, indexed, unique=unique, postgresql_where=only, sqlite_where=only)
    if on_postgres:
        op.alter_column("document", "size", type_=sa.BigInteger(), existing_type=sa.Integer())
    op.create_table(
        "content",
        sa.Column("place", sa.String(255), nullable=False),
        sa.Column("checksum", sa.String(64), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("refs", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("place", "checksum", name=op.f("pk_content")),
    )
    op.create_table(
        "usage",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("documents", BIG, nullable=False),
        sa.Column("bytes", BIG, nullable=False),
        sa.Column("max_documents", BIG, nullable=True),
        sa.Column("max_bytes", BIG, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage")),
    )
    op.execute(
        "INSERT INTO usage (id, documents, bytes) SELECT 1, count(*), coalesce(sum(coalesce(size, 0)), 0) FROM document"
    )
    op.create_table(
        "document_text",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("document_id", sa.String(36), nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("search", sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql"), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document_text")),
        sa.ForeignKeyConstraint(
            ["document_id"], ["document.id"], name=op.f("fk_document_text_document_id_document"), ondelete="CASCADE"
        ),
    )
    op.create_index("ix_document_text_document_id", "document_text", ["document_id"], unique=True)
    if on_postgres:
        op.create_index("ix_document_text_search", "document_text", ["search"], postgresql_using="gin")
    else:
        op.execute(
            "CREATE VIEW document_body AS SELECT t.id AS id, coalesce(t.body, d.raw_content) AS body"
            " FROM document_text t JOIN document d ON d.id = t.document_id"
        )
        # The text is read from the view, so that it is not kept a second time.
        op.execute(
            "CREATE VIRTUAL TABLE document_fts USING fts5(body, content='document_body', content_rowid='id',"
            " tokenize='unicode61 remove_diacritics 2')"
        )
    op.create_table(
        "audit_trail",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("happened_at", sa.DateTime(), nullable=False),
        sa.Column("action", sa.String(50), nullable=False),
        sa.Column("basket_id", sa.String(36), nullable=True),
        sa.Column("document_id", sa.String(36), nullable=True),
        sa.Column("user_id", sa.String(255), nullable=True),
        sa.Column("user_email", sa.String(255), nullable=True),
        sa.Column("attributes", sa.JSON(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_trail")),
    )
    op.create_index("ix_audit_trail_happened_at", "audit_trail", ["happened_at"])
    op.create_index("ix_audit_trail_document_id", "audit_trail", ["document_id"])


def downgrade() -> None:
    """Remove what was added. Contents stay in the storage, but the older release does not know where."""
    on_postgres = op.get_bind().dialect.name == "postgresql"
    op.drop_table("audit_trail")
    if not on_postgres:
        op.execute("DROP TABLE document_fts")
        op.execute("DROP VIEW document_body")
    op.drop_table("document_text")
    op.drop_table("usage")
    op.drop_table("content")
    if on_postgres:
        op.alter_column("document", "size", type_=sa.Integer(), existing_type=sa.BigInteger())
    for name, table, _, _ in INDEXES:
        op.drop_index(name, table)
    for table, names in USERS.items():
        for name in names:
            op.drop_column(table, name)
    for table, columns in COLUMNS.items():
        for column in columns:
            op.drop_column(table, column.name)
