"""Refer to location and nine more."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("location", sa.Column("reference", sa.String(64)))
    op.add_column("message", sa.Column("reference", sa.String(64)))
    op.add_column("order_line", sa.Column("reference", sa.String(64)))
    op.add_column("payment", sa.Column("reference", sa.String(64)))
    op.add_column("permit", sa.Column("reference", sa.String(64)))
    op.add_column("product", sa.Column("reference", sa.String(64)))
    op.add_column("project", sa.Column("reference", sa.String(64)))
    op.add_column("shipment", sa.Column("reference", sa.String(64)))
    op.add_column("supplier", sa.Column("reference", sa.String(64)))
    op.add_column("ticket", sa.Column("reference", sa.String(64)))
    op.create_index("ix_location_reference", "location", ["reference"])


def downgrade() -> None:
    op.drop_index("ix_location_reference")
    with op.batch_alter_table("ticket") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("supplier") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("shipment") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("project") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("product") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("permit") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("payment") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("order_line") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("message") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("location") as batch:
        batch.drop_column("reference")
