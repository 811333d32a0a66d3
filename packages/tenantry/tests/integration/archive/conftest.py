"""A tenant with something of everything, on both databases."""

from __future__ import annotations

import pytest

TABLES = """
op.create_table(
    "kind",
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("name", sa.String(80), sa.CheckConstraint("name NOT IN ('x', 'y')"), nullable=False, unique=True),
)
op.create_table(
    "thing",
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("kind_id", sa.Integer(), sa.ForeignKey("kind.id", name="fk_thing_kind")),
    sa.Column("parent_id", sa.Integer(), sa.ForeignKey("thing.id", name="fk_thing_parent")),
    sa.Column("label", sa.Text()),
    sa.Column("exact", sa.Numeric(12, 4)),
    sa.Column("rough", sa.Float()),
    sa.Column("yes", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("at", sa.DateTime()),
    sa.Column("day", sa.Date()),
    sa.Column("body", sa.LargeBinary()),
    sa.Column("uid", sa.Uuid()),
    sa.Column("extra", sa.JSON()),
    sa.CheckConstraint("rough >= 0", name="ck_thing_rough"),
    sa.CheckConstraint("label IS NULL OR label NOT IN ('no', 'never')", name="ck_thing_label"),
)
op.create_index("ix_thing_label", "thing", ["label"])
"""
ONLY_POSTGRES = '''
if op.get_bind().dialect.name == "postgresql":
    op.execute("CREATE TYPE mood AS ENUM ('good', 'it''s bad')")
    op.execute("CREATE DOMAIN percent AS integer DEFAULT 1 CHECK (VALUE BETWEEN 0 AND 100)")
    op.execute("CREATE SEQUENCE ticket START 1000 INCREMENT 5")
    op.execute("CREATE FUNCTION doubled(n integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT n * 2'")
    op.execute("CREATE FUNCTION count_of(kind_row kind) RETURNS integer LANGUAGE sql AS 'SELECT kind_row.id'")
    op.execute("""
        CREATE TABLE "Odd table" (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mood mood, share percent, tags text[],
            "a column" text COLLATE "C" DEFAULT 'x\\\\y',
            twice integer GENERATED ALWAYS AS (doubled(id::integer)) STORED,
            number integer DEFAULT nextval('ticket'), EXCLUDE USING btree (number WITH =)
        )
    """)
    op.execute("CREATE TABLE event (id integer, on_day date, PRIMARY KEY (id, on_day)) PARTITION BY RANGE (on_day)")
    op.execute("CREATE TABLE event_old PARTITION OF event FOR VALUES FROM (MINVALUE) TO ('2026-01-01')")
    op.execute("CREATE TABLE event_new PARTITION OF event FOR VALUES FROM ('2026-01-01') TO (MAXVALUE)")
    op.execute("CREATE INDEX ix_event_day ON event (on_day)")
    op.execute("CREATE INDEX ix_thing_low ON thing (lower(label)) WHERE yes")
    op.execute("CREATE VIEW good_things AS SELECT id, label FROM thing WHERE yes")
    op.execute("CREATE VIEW better_things AS SELECT id FROM good_things")
    op.execute("CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM thing")
    op.execute("""
        CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.label := upper(NEW.label); RETURN NEW; END $$
    """)
    op.execute("CREATE TRIGGER shout BEFORE INSERT ON thing FOR EACH ROW EXECUTE FUNCTION shout()")
    op.execute("ALTER TABLE kind ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY few ON kind FOR SELECT USING (id < 1000)")
    op.execute("COMMENT ON COLUMN thing.label IS 'what it''s called'")
    op.execute("COMMENT ON TABLE thing IS 'things'")
else:
    op.execute("CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, any_value)")
    op.execute("CREATE TABLE pair (a TEXT, b INTEGER, c AS (b * 2), PRIMARY KEY (a, b)) WITHOUT ROWID")
    op.execute("CREATE VIEW good_things AS SELECT id, label FROM thing WHERE yes")
    op.execute("CREATE UNIQUE INDEX ix_thing_low ON thing (lower(label)) WHERE yes")
    op.execute("CREATE VIRTUAL TABLE search USING fts5(label, content='thing', content_rowid='id')")
    op.execute("""
        CREATE TRIGGER fed AFTER INSERT ON thing
        BEGIN INSERT INTO search (rowid, label) VALUES (new.id, new.label); END
    """)
'''
ROWS = (
    "INSERT INTO kind (id, name) VALUES (1, 'a\tb\\c'), (2, 'naïve\nline')",
    "INSERT INTO thing (id, kind_id, parent_id, label, exact, rough, yes, at, day, extra) VALUES"
    " (5, 2, 6, 'tab\there', 12.3456, 0.1, true, '2026-02-03 04:05:06.070809', '2026-02-03', '{\"a\": [1, null]}'),"
    " (6, 1, 5, '', NULL, 1e300, false, NULL, NULL, 'null'), (7, NULL, NULL, NULL, -1, 0, true, NULL, NULL, NULL)",
)
ROWS_OF = {
    "schema": (
        "UPDATE thing SET body = '\\x00ff0a09', uid = '01234567-89ab-cdef-0123-456789abcdef' WHERE id = 5",
        "INSERT INTO \"Odd table\" (mood, share, tags) VALUES ('it''s bad', 50, '{a,\"b,c\"}'), (NULL, NULL, NULL)",
        "INSERT INTO event VALUES (1, '2025-01-01'), (2, '2026-06-01')",
        "REFRESH MATERIALIZED VIEW counted",
        "SELECT nextval('ticket')",
        "SELECT setval('kind_id_seq', 77, false)",
    ),
    "file": (
        "UPDATE thing SET body = x'00ff0a09', uid = '0123456789abcdef0123456789abcdef' WHERE id = 5",
        "INSERT INTO counted (id, any_value) VALUES (1, 1), (2, '1'), (3, x'01'), (4, 1.5), (9, NULL)",
        "DELETE FROM counted WHERE id = 9",
        "INSERT INTO pair VALUES ('x', 2), ('x', 1)",
    ),
}


@pytest.fixture
def things(chain):
    """An application whose tenants hold something of everything."""
    chain.add("r1", TABLES)
    chain.add("r2", ONLY_POSTGRES)
    return chain


@pytest.fixture
def filled(place, things, tmp_path):
    """A tenancy with one such tenant, acme, with rows in it."""
    tenancy = place.tenancy(things, archives=tmp_path / "archives")
    tenancy.provision("acme", name="Acme & Söhne", attributes={"plan": "gold"}, admin_email="a@example.com")
    fill(place, "acme")
    return tenancy


def fill(place, slug) -> None:
    place.write(slug, *ROWS, *ROWS_OF[place.kind])
