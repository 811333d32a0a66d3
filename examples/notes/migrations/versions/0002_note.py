"""note"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "note",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("notebook_id", sa.Integer(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_note"),
        sa.ForeignKeyConstraint(["notebook_id"], ["notebook.id"], name="fk_note_notebook_id", ondelete="CASCADE"),
    )
    op.create_index("ix_note_notebook_id", "note", ["notebook_id"])


def downgrade() -> None:
    op.drop_table("note")
