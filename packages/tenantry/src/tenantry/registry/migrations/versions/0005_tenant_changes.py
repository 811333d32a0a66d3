"""Have PostgreSQL tell every listening process of a change to a tenant's record.

A trigger, so that it costs no message and nobody can forget it: a change typed into psql is told as well. SQLite needs
none, its files count their own changes.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# The payload names the schema, because one database may hold the control planes of several applications. The same
# payload twice in one transaction is told once.
FUNCTION = """
CREATE FUNCTION tell_of_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_catalog.pg_notify('tenantry', pg_catalog.concat(TG_TABLE_SCHEMA, ':', OLD.slug));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM pg_catalog.pg_notify('tenantry', pg_catalog.concat(TG_TABLE_SCHEMA, ':', NEW.slug));
    END IF;
    RETURN NULL;
END
$$
"""
# Not the token of an operation and its times, which change twice in every operation and concern no reader.
TOLD = ("slug", "name", "location", "role", "status", "admin_email", "revision", "attributes")


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    old, new = (", ".join(f"{side}.{column}" for column in TOLD) for side in ("OLD", "NEW"))
    op.execute(FUNCTION)
    op.execute(
        "CREATE TRIGGER tell_of_tenant AFTER INSERT OR DELETE ON tenant FOR EACH ROW EXECUTE FUNCTION tell_of_tenant()"
    )
    op.execute(
        "CREATE TRIGGER tell_of_changed_tenant AFTER UPDATE ON tenant FOR EACH ROW"
        f" WHEN (({old}) IS DISTINCT FROM ({new})) EXECUTE FUNCTION tell_of_tenant()"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("DROP TRIGGER tell_of_changed_tenant ON tenant")
    op.execute("DROP TRIGGER tell_of_tenant ON tenant")
    op.execute("DROP FUNCTION tell_of_tenant()")
