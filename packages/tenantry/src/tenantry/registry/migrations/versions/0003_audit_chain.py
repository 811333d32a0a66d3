"""Chain the rows of the audit trail by their hashes, those that are there already too."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

GENESIS = "0" * 64
BATCH = 1_000  # rows


def upgrade() -> None:
    for column in ("previous", "hash"):
        op.add_column("audit", sa.Column(column, sa.String(64), nullable=False, server_default="unchained"))
    head = op.create_table(
        "audit_head",
        sa.Column("uid", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_audit_head")),
        sa.CheckConstraint("uid = 1", name=op.f("ck_audit_head_uid")),
    )
    sequence, last = _chain(op.get_bind())
    op.bulk_insert(head, [{"uid": 1, "sequence": sequence, "hash": last}])


def downgrade() -> None:
    op.drop_table("audit_head")
    for column in ("hash", "previous"):
        op.drop_column("audit", column)


def _chain(connection: sa.Connection) -> tuple[int, str]:
    """Number the rows without a gap and give each its hash; returns the end."""
    names = ("at", "actor", "origin", "action", "slug", "outcome", "details", "previous", "hash")
    audit = sa.table("audit", sa.column("sequence"), *(sa.column(name) for name in names))
    at: sa.ColumnElement[datetime] = sa.type_coerce(audit.c.at, sa.DateTime(timezone=True))
    text = sa.cast(audit.c.details, sa.Text)
    query = sa.select(audit.c.sequence, at.label("at"), *(audit.c[name] for name in names[1:6]), text.label("details"))
    number, previous, after = 0, GENESIS, 0
    while True:
        rows = connection.execute(query.where(audit.c.sequence > after).order_by(audit.c.sequence).limit(BATCH)).all()
        for row in rows:
            number += 1
            moment = row.at.replace(tzinfo=UTC) if row.at.tzinfo is None else row.at.astimezone(UTC)
            written = moment.isoformat(timespec="microseconds")
            fields = [number, written, row.actor, row.origin, row.action, row.slug, row.outcome, row.details, previous]
            hashed = hashlib.sha256(json.dumps(fields, separators=(",", ":")).encode()).hexdigest()
            change = {"sequence": number, "previous": previous, "hash": hashed}
            connection.execute(sa.update(audit).where(audit.c.sequence == row.sequence).values(change))
            previous, after = hashed, row.sequence
        if len(rows) < BATCH:
            return number, previous
