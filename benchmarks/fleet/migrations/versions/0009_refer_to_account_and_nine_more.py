"""Refer to account and nine more."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("account", sa.Column("reference", sa.String(64)))
    op.add_column("address", sa.Column("reference", sa.String(64)))
    op.add_column("agreement", sa.Column("reference", sa.String(64)))
    op.add_column("article", sa.Column("reference", sa.String(64)))
    op.add_column("asset", sa.Column("reference", sa.String(64)))
    op.add_column("branch", sa.Column("reference", sa.String(64)))
    op.add_column("campaign", sa.Column("reference", sa.String(64)))
    op.add_column("carrier", sa.Column("reference", sa.String(64)))
    op.add_column("contact", sa.Column("reference", sa.String(64)))
    op.add_column("contract", sa.Column("reference", sa.String(64)))
    op.create_index("ix_account_reference", "account", ["reference"])


def downgrade() -> None:
    op.drop_index("ix_account_reference")
    with op.batch_alter_table("contract") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("contact") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("carrier") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("campaign") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("branch") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("asset") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("article") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("agreement") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("address") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("account") as batch:
        batch.drop_column("reference")
