"""A new tenant's tables, made from the compiled baseline, equal those that plain Alembic makes revision by revision."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tenantry.migrations.fingerprint import digest
from tenantry.migrations.plan import Kind

# Revisions as people write them. Each history: (revision, upgrade, keywords of Chain.add).
NOTE = """
op.create_table(
    "note",
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("body", sa.Text(), nullable=False),
    sa.Column("rank", sa.Integer()),
)
"""
HISTORIES = {
    "asks an inspector": [
        ("r1", NOTE),
        (
            "r2",
            """
            inspector = sa.inspect(op.get_bind())
            assert inspector.get_table_names().count("note") == 1
            if "pinned" not in {column["name"] for column in inspector.get_columns("note")}:
                op.add_column("note", sa.Column("pinned", sa.Boolean(), server_default=sa.false()))
            if not inspector.has_table("other"):
                op.create_table("other", sa.Column("id", sa.Integer(), primary_key=True))
            assert not any(index["name"] == "ix_note_rank" for index in inspector.get_indexes("note"))
            op.create_index("ix_note_rank", "note", ["rank"])
            """,
        ),
    ],
    "asks for the dialect": [
        ("r1", NOTE),
        (
            "r2",
            """
            if op.get_bind().dialect.name == "postgresql":
                op.execute("ALTER TABLE note ALTER COLUMN body TYPE varchar(500)")
            else:
                op.execute("CREATE TABLE only_sqlite (id INTEGER PRIMARY KEY)")
            """,
        ),
    ],
    "enums": [
        (
            "r1",
            """
            op.create_table(
                "task",
                sa.Column("id", sa.Integer(), primary_key=True),
                sa.Column("state", sa.Enum("new", "it's", "50%", name="state"), nullable=False, server_default="it's"),
            )
            """,
        ),
        (
            "r2",
            """
            if op.get_bind().dialect.name == "postgresql":
                op.execute("ALTER TYPE state RENAME VALUE 'new' TO 'fresh'")
            """,
        ),
    ],
    "batch operations": [
        ("r1", NOTE + '\nop.create_table("tag", sa.Column("id", sa.Integer(), primary_key=True), '
         'sa.Column("note_id", sa.Integer(), sa.ForeignKey("note.id", name="fk_tag_note")))'),
        ("r2", 'op.bulk_insert(sa.table("note", sa.column("id"), sa.column("body")), [{"id": 1, "body": "x"}])'),
        (
            "r3",
            """
            with op.batch_alter_table("note") as table:
                table.add_column(sa.Column("colour", sa.String(10), server_default="red", nullable=False))
                table.alter_column("body", type_=sa.String(900), existing_type=sa.Text())
                table.create_index("ix_note_colour", ["colour"])
            with op.batch_alter_table("tag") as table:
                table.drop_constraint("fk_tag_note", type_="foreignkey")
                table.create_foreign_key("fk_tag_note", "note", ["note_id"], ["id"], ondelete="CASCADE")
            """,
        ),
    ],
    "values of every kind": [
        (
            "r1",
            """
            table = op.create_table(
                "kind",
                sa.Column("id", sa.Integer(), primary_key=True),
                sa.Column("text", sa.Text()),
                sa.Column("json", sa.JSON()),
                sa.Column("day", sa.Date()),
                sa.Column("at", sa.DateTime()),
                sa.Column("raw", sa.LargeBinary()),
                sa.Column("price", sa.Numeric(12, 2)),
                sa.Column("ratio", sa.Float()),
                sa.Column("yes", sa.Boolean()),
                sa.Column("key", sa.Uuid()),
            )
            row = dict(
                id=1, text="it's 100% \\"quoted\\" \\\\ back; :name %s %(x)s %% $$ -- /* é \\U0001F600",
                price=decimal.Decimal("1.10"),
                json={"a": [1, "it's", "50%", None], "b": {"c": "\\\\"}}, day=datetime.date(2024, 2, 29),
                at=datetime.datetime(2024, 2, 29, 12, 30, 1, 5), raw=b"\\x00\\xff'%\\\\", ratio=0.1, yes=True,
                key=uuid.UUID(int=7),
            )
            op.bulk_insert(table, [row, {**row, "id": 2, "text": "", "json": []}, {**row, "id": 3, "text": "x" * 9000}])
            op.execute(table.insert().values({**row, "id": 4}))
            op.execute(table.update().where(table.c.id == 4).values(text="50% of it's"))
            op.execute(sa.text("UPDATE kind SET text = :text WHERE day = :day AND id = 3").bindparams(
                text="bound: 100%", day=datetime.date(2024, 2, 29)))
            op.get_bind().execute(table.delete().where(table.c.id == 2))
            op.get_bind().execute(sa.text("INSERT INTO kind (id, text) VALUES (:id, :text)"),
                                  [{"id": 10, "text": "a%"}, {"id": 11, "text": "b'"}])
            """,
        ),
        (
            "r2",
            """
            bind = op.get_bind()
            if bind.dialect.name == "postgresql":
                bind.exec_driver_sql("INSERT INTO kind (id, text) VALUES (%(id)s, %(text)s)", {"id": 20, "text": "x%"})
                bind.exec_driver_sql("INSERT INTO kind (id, day) VALUES (%s, %s)", (21, datetime.date(2024, 1, 1)))
            else:
                bind.exec_driver_sql("INSERT INTO kind (id, text) VALUES (:id, :text)", {"id": 20, "text": "x%"})
                bind.exec_driver_sql("INSERT INTO kind (text, id) VALUES (:text, :id)", {"id": 22, "text": "y"})
                bind.exec_driver_sql("INSERT INTO kind (id, day) VALUES (?, ?)", (21, datetime.date(2024, 1, 1)))
            """,
        ),
    ],
    "raw statements": [
        ("r1", NOTE),
        (
            "r2",
            r"""
            op.execute("INSERT INTO note (id, body) VALUES (1, '100%')")
            op.execute("INSERT INTO note (id, body) VALUES (2, 'it''s'); -- the end of a statement")
            op.execute("INSERT INTO note (id, body) VALUES (3, 'c') -- no semicolon after it")
            op.execute('''
                -- a comment first
                INSERT INTO note (id, body)
                SELECT id + 10, body || '%' FROM note
                /* and one
                   after it */
            ''')
            op.execute("UPDATE note SET body = 'a;b' WHERE body LIKE '100\\%' ESCAPE '\\'")
            """,
        ),
    ],
    "functions and triggers": [
        ("r1", NOTE),
        (
            "r2",
            """
            if op.get_bind().dialect.name == "postgresql":
                op.execute('''
                    CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
                    BEGIN
                        -- 100% sure; it's
                        NEW.body := format('%s!', upper(NEW.body));
                        RETURN NEW;
                    END $$
                ''')
                op.execute("CREATE TRIGGER shout BEFORE INSERT ON note FOR EACH ROW EXECUTE FUNCTION shout()")
                op.execute("INSERT INTO note (id, body) VALUES (1, 'a'); INSERT INTO note (id, body) VALUES (2, 'b')")
                op.execute("DO $do$ BEGIN IF (SELECT count(*) FROM note) = 2 THEN "
                           "INSERT INTO note (id, body) VALUES (3, 'c'); END IF; END $do$")
                op.execute("CREATE VIEW loud AS SELECT * FROM note WHERE body LIKE '%!'")
            else:
                op.execute('''
                    CREATE TRIGGER shout AFTER INSERT ON note BEGIN
                        UPDATE note SET body = upper(NEW.body) || '!' WHERE id = NEW.id;
                    END
                ''')
                op.execute("INSERT INTO note (id, body) VALUES (1, 'a')")
                op.execute("CREATE VIEW loud AS SELECT * FROM note WHERE body LIKE '%!'")
            """,
        ),
    ],
    "server defaults and checks": [
        (
            "r1",
            """
            op.create_table(
                "thing",
                sa.Column("id", sa.Integer(), sa.Identity(always=False), primary_key=True),
                sa.Column("name", sa.String(40), server_default="it's 100%", nullable=False),
                sa.Column("made", sa.DateTime(), server_default=sa.func.now()),
                sa.Column("size", sa.Integer(), server_default=sa.text("3 + 4")),
                sa.Column("double", sa.Integer(), sa.Computed("size * 2", persisted=True)),
                sa.CheckConstraint("size % 2 = 1 OR name LIKE '%x'", name="ck_thing_size"),
                sa.UniqueConstraint("name", "size", name="uq_thing"),
                comment="it's 100% a thing",
            )
            op.create_index("ix_thing_part", "thing", ["name"], postgresql_where=sa.text("size > 3"),
                            sqlite_where=sa.text("size > 3"))
            """,
        )
    ],
    "rows with returning": [
        ("r1", NOTE),
        (
            "r2",
            """
            note = sa.table("note", sa.column("id", sa.Integer), sa.column("body"), sa.column("rank"))
            bind = op.get_bind()
            one = bind.execute(note.insert().values(body="first").returning(note.c.id)).scalar_one()
            bind.execute(note.insert().values(body="second", rank=one))
            for row in bind.execute(sa.select(note.c.id, note.c.body)).all():
                bind.execute(note.update().where(note.c.id == row.id).values(body=row.body + "!"))
            """,
        ),
    ],
    "an index built concurrently": [
        ("r1", NOTE),
        (
            "r2",
            """
            with op.get_context().autocommit_block():
                op.create_index("ix_note_rank", "note", ["rank"], postgresql_concurrently=True)
            op.add_column("note", sa.Column("after", sa.Integer()))
            """,
        ),
        (
            "r3",
            """
            with op.get_context().autocommit_block():
                op.drop_index("ix_note_rank", "note", postgresql_concurrently=True, if_exists=True)
                op.create_index("ix_note_body", "note", ["body"], postgresql_concurrently=True, unique=True)
            """,
        ),
    ],
    "savepoints": [
        ("r1", NOTE),
        (
            "r2",
            """
            bind = op.get_bind()
            with bind.begin_nested():
                op.execute("INSERT INTO note (id, body) VALUES (1, 'kept')")
            try:
                with bind.begin_nested():
                    op.execute("INSERT INTO note (id, body) VALUES (2, 'lost')")
                    raise KeyError("undone")
            except KeyError:
                op.execute("INSERT INTO note (id, body) VALUES (3, 'instead')")
            """,
        ),
    ],
    "a revision that does nothing": [("r1", NOTE), ("r2", "pass"), ("r3", 'op.execute("-- nothing")')],
    "models of its own": [
        (
            "r1",
            """
            from sqlalchemy.orm import Session, declarative_base
            Base = declarative_base()
            class Item(Base):
                __tablename__ = "item"
                id = sa.Column(sa.Integer, primary_key=True)
                name = sa.Column(sa.String(20))
            Base.metadata.create_all(op.get_bind())
            session = Session(bind=op.get_bind())
            session.add_all([Item(id=1, name="it's"), Item(id=2, name="50%")])
            session.flush()
            """,
        )
    ],
}  # fmt: skip


@pytest.mark.parametrize("history", HISTORIES)
def test_new_tenant_equals_one_that_plain_alembic_made(place, chain, history) -> None:
    for revision, upgrade, *_ in HISTORIES[history]:
        chain.add(revision, upgrade)
    tenancy = place.tenancy(chain)
    assert tenancy.provision("acme").tenant.revision == chain.written[-1]
    place.replay(chain.directory, "plain")
    assert place.shape("acme") == place.shape("plain")
    ours, theirs = place.everything("acme"), place.everything("plain")
    assert ours == theirs
    if history != "server defaults and checks":  # nothing else here depends on the place itself
        assert tenancy._provisioner.planner.plan(None, chain.written[-1]).replayable


@pytest.mark.parametrize("history", HISTORIES)
def test_tenant_with_rows_that_is_migrated_equals_one_that_plain_alembic_migrated(place, chain, history) -> None:
    """From the first revision to the last with rows in between, as a deployment would do it."""
    if len(HISTORIES[history]) == 1:
        pytest.skip("nothing to migrate")
    first, *later = HISTORIES[history]
    chain.add(*first)
    tenancy = place.tenancy(chain)
    tenancy.provision("acme")
    place.replay(chain.directory, "plain")
    rows = {
        "note": "INSERT INTO note (id, body, rank) VALUES (77, 'it''s old', 1)",
        "task": "INSERT INTO task (id) VALUES (77)",
        "kind": "INSERT INTO kind (id, text) VALUES (77, 'old')",
    }
    for slug in ("acme", "plain"):
        with place.raw(slug) as connection:
            tables = sa.inspect(connection).get_table_names()
        place.write(slug, *(statement for table, statement in rows.items() if table in tables))
    for revision in later:
        chain.add(*revision)
    migrated = place.tenancy(chain)
    assert migrated.migrate("acme").tenant.revision == chain.written[-1]
    alembic_upgrade(place, chain, "plain")
    assert place.shape("acme") == place.shape("plain")
    assert place.everything("acme") == place.everything("plain")


def alembic_upgrade(place, chain, slug) -> None:
    """Plain Alembic on a tenant that is there."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(chain.directory))
    config.set_main_option("path_separator", "os")
    options = {"connect_args": {"options": f"-csearch_path={place.location(slug)}"}} if place.on_postgres else {}
    if place.on_postgres:
        url = sa.make_url(place.where).set(drivername="postgresql+psycopg")
    else:
        url = f"sqlite:///{place.where}/{place.location(slug)}"
    engine = sa.create_engine(url, poolclass=sa.NullPool, **options)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    engine.dispose()


@pytest.mark.parametrize("application", ["fleet", "notes"])
def test_baseline_of_a_whole_application_equals_its_replayed_history(place, request, application) -> None:
    directory = request.getfixturevalue(application)
    tenancy = place.tenancy(directory)
    tenancy.provision("acme")
    place.replay(directory, "plain")
    assert place.shape("acme") == place.shape("plain")
    assert digest(place.shape("acme")) == digest(place.shape("plain"))
    plan = tenancy._provisioner.planner.plan(None, tenancy.head())
    assert {step.kind for step in plan.steps} == {Kind.REPLAY}


def outline(place, slug) -> dict[str, object]:
    """A tenant's tables as an inspector tells them, whatever order they were made in."""
    with place.raw(slug) as connection:
        inspector = sa.inspect(connection)
        keys, indexes = inspector.get_multi_foreign_keys(), inspector.get_multi_indexes()
        return {
            table: (
                sorted((one["name"], str(one["type"]), one["nullable"], one["default"]) for one in columns),
                sorted((one["name"] or "", one["constrained_columns"], one["referred_table"]) for one in keys[table]),
                sorted((one["name"], one["column_names"], one["unique"]) for one in indexes[table]),
            )
            for table, columns in inspector.get_multi_columns().items()
        }


@pytest.mark.parametrize("application", ["fleet", "notes"])
def test_tenant_migrated_from_each_revision_equals_a_new_one(place, request, application) -> None:
    directory = request.getfixturevalue(application)
    tenancy = place.tenancy(directory)
    tenancy.provision("new")
    history = [info.revision for info in reversed(tenancy.history())]
    starts = history[:-1] if application == "notes" else [history[4], history[9]]
    tenancy.provision("acme")
    for start in reversed(starts):
        tenancy.downgrade("acme", start)
        assert tenancy.current("acme") == start
        tenancy.migrate("acme")
        # Not their fingerprints: what was dropped and made again stands elsewhere in the text of SQLite's tables.
        assert outline(place, "acme") == outline(place, "new")


def test_fleet_has_the_size_that_benchmarks_promise(place, fleet) -> None:
    place.tenancy(fleet).provision("acme")
    with place.raw("acme") as connection:
        inspector = sa.inspect(connection)
        names = [name for name in inspector.get_table_names() if name != "alembic_version"]
        assert len(names) == 30
        assert sum(len(inspector.get_columns(name)) for name in names) == 240
        assert sum(len(inspector.get_foreign_keys(name)) for name in names) == 44
        assert sum(len(inspector.get_indexes(name)) for name in names) == 63
    assert len(place.tenancy(fleet).history()) == 12
