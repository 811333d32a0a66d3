"""Tie two tables together."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    with op.batch_alter_table("ticket") as batch:
        batch.create_foreign_key("fk_ticket_address", "address", ["quantity"], ["id"])
    with op.batch_alter_table("shipment") as batch:
        batch.create_foreign_key("fk_shipment_address", "address", ["quantity"], ["id"])


def downgrade() -> None:
    with op.batch_alter_table("shipment") as batch:
        batch.drop_constraint("fk_shipment_address", type_="foreignkey")
    with op.batch_alter_table("ticket") as batch:
        batch.drop_constraint("fk_ticket_address", type_="foreignkey")
