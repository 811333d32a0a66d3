"""notebook"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notebook",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_notebook"),
        sa.UniqueConstraint("title", name="uq_notebook_title"),
    )


def downgrade() -> None:
    op.drop_table("notebook")
