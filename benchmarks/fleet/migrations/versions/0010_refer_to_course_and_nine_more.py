"""Refer to course and nine more."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("course", sa.Column("reference", sa.String(64)))
    op.add_column("currency", sa.Column("reference", sa.String(64)))
    op.add_column("customer", sa.Column("reference", sa.String(64)))
    op.add_column("delivery", sa.Column("reference", sa.String(64)))
    op.add_column("department", sa.Column("reference", sa.String(64)))
    op.add_column("device", sa.Column("reference", sa.String(64)))
    op.add_column("document", sa.Column("reference", sa.String(64)))
    op.add_column("employee", sa.Column("reference", sa.String(64)))
    op.add_column("event", sa.Column("reference", sa.String(64)))
    op.add_column("invoice", sa.Column("reference", sa.String(64)))
    op.create_index("ix_course_reference", "course", ["reference"])


def downgrade() -> None:
    op.drop_index("ix_course_reference")
    with op.batch_alter_table("invoice") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("event") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("employee") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("document") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("device") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("department") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("delivery") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("customer") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("currency") as batch:
        batch.drop_column("reference")
    with op.batch_alter_table("course") as batch:
        batch.drop_column("reference")
