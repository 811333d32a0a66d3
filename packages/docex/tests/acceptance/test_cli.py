"""The command ``docex``, as it is typed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.main import get_command

from docex import DocEXConfig
from docex.cli import app
from docex.tenancy import MIGRATIONS


def test_every_command_has_help_and_a_group_shows_its_commands() -> None:
    def walk(command: Any, path: str) -> list[str]:
        assert command.help, f"{path} has no help"
        for parameter in command.params:
            assert parameter.name == "help" or parameter.help, f"{path} {parameter.name} has no help"
        return [path] + [
            below
            for name, inner in getattr(command, "commands", {}).items()
            for below in walk(inner, f"{path} {name}".strip())
        ]

    found = walk(get_command(app), "")
    assert {
        "init",
        "provision-tenant",
        "tenant list",
        "basket list",
        "basket create",
        "document list",
        "document count",
        "document search",
        "document get",
        "document add",
    } <= set(found)


def test_wrong_usage_exits_2(installation: Any) -> None:
    for command in ([], ["provision-tenant"], ["nothing"], ["document", "list"], ["init", "--db-type", "mysql"]):
        ran = installation.here(*command)
        assert ran.returncode == 2, command
        assert "Traceback" not in ran.stderr


def test_provisioning_for_scripts(anywhere: Any) -> None:
    anywhere.setup()
    for _ in range(2):
        ran = anywhere.here("provision-tenant", "--tenant-id", "acme-corp", "--if-not-exists")
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.splitlines()[-1 if "Usage" not in ran.stdout else 1] == (
            "✅ Tenant 'acme-corp' is ready to use!"
        )
    assert "Tenant already exists" in ran.stderr
    assert "provisioned successfully" not in ran.stdout


def test_refused_ids_leave_the_configuration_alone(installation: Any) -> None:
    for tenant_id in ("../x", "a/b", "", "x" * 300, "\u0430cme"):
        ran = installation.here("provision-tenant", "--tenant-id", tenant_id, "--enable-multi-tenancy")
        assert ran.returncode == 1
        assert ran.stderr.startswith("❌ Error: Tenant id ")
        assert len(ran.stderr.splitlines()) == 1
    assert installation.files() == {}


def test_tenant_list(anywhere: Any) -> None:
    ran = anywhere.here("tenant", "list")
    assert ran.returncode == 1
    assert "multi-tenancy is not enabled" in ran.stderr
    anywhere.setup()
    empty = anywhere.here("tenant", "list", "--format", "json")
    assert (empty.returncode, json.loads(empty.stdout)) == (0, [])
    assert anywhere.stores() == []
    for tenant_id in ("globex-corp", "acme-corp"):
        anywhere.docex(tenant_id)
    assert (
        anywhere.here("tenant", "list", "--format", "simple").stdout
        == "acme-corp\tacme-corp\nglobex-corp\tglobex-corp\n"
    )
    first, _ = json.loads(anywhere.here("tenant", "list", "--format", "json").stdout)
    assert (first["tenant_id"], first["status"], first["revision"]) == ("acme-corp", "active", MIGRATIONS.head())
    table = anywhere.here("tenant", "list").stdout
    assert "acme-corp" in table
    assert "tenant_globex-corp" in table


def test_baskets_and_documents(anywhere: Any) -> None:
    anywhere.setup().docex()
    of = ("--tenant-id", "acme-corp")
    made = anywhere.here("basket", "create", *of, "--name", "My Invoices!", "--description", "all")
    assert made.returncode == 0, made.stderr
    basket_id, name = made.stdout.strip().split("\t")
    assert name == "My_Invoices"
    again = anywhere.here("basket", "create", *of, "--name", "My Invoices!")
    assert again.returncode == 1
    assert "A basket with name 'My_Invoices' already exists" in again.stderr
    assert anywhere.here("basket", "list", *of, "--format", "simple").stdout == f"{basket_id}\tMy_Invoices\n"
    assert basket_id in anywhere.here("basket", "list", *of).stdout

    within = (*of, "--basket-id", basket_id)
    anywhere.file("a.txt", b"one")
    anywhere.file("b.pdf", b"two!")
    ids = []
    for file, metadata in (("a.txt", '{"year": 2024}'), ("b.pdf", '{"year": "2024"}')):
        added = anywhere.here("document", "add", *within, "--file", file, "--metadata", metadata)
        assert added.returncode == 0, added.stderr
        ids.append(added.stdout.split("\t")[0])
    assert anywhere.here("document", "count", *within).stdout == "2\n"
    listed = anywhere.here("document", "list", *within, "--order-by", "name", "--limit", "1", "--format", "simple")
    assert listed.stdout == f"{ids[0]}\ta.txt\n"
    assert listed.stderr == "Page 1 of 2 (Total: 2 documents)\n"
    found = anywhere.here("document", "search", *within, "--metadata", '{"year": 2024}', "--format", "json")
    assert [document["id"] for document in json.loads(found.stdout)] == [ids[0]]
    details = json.loads(anywhere.here("document", "get", *of, "--document-id", ids[1], "--format", "json").stdout)
    assert (details[0]["size"], details[0]["metadata"]["year"]) == (4, "2024")
    assert "b.pdf" in anywhere.here("document", "get", *of, "--document-id", ids[1]).stdout


def test_failures_of_listings_are_one_line(installation: Any) -> None:
    installation.setup().docex()
    for command, said in (
        (["basket", "list"], "tenant is required"),
        (["basket", "list", "--tenant-id", "typo"], "Tenant 'typo' is not provisioned"),
        (["document", "count", "--tenant-id", "acme-corp", "--basket-id", "bas_x"], "Basket bas_x not found"),
        (["document", "get", "--tenant-id", "acme-corp", "--document-id", "doc_x"], "Document with ID doc_x not found"),
    ):
        ran = installation.here(*command)
        assert ran.returncode == 1
        assert ran.stderr.startswith("❌ Error: ")
        assert said in ran.stderr
        assert len(ran.stderr.splitlines()) == 1
    assert installation.stores() == ["acme-corp"]
    wrong = ["document", "search", "--tenant-id", "acme-corp", "--basket-id", "x", "--metadata", "[1]"]
    assert installation.here(*wrong).returncode == 2


def test_init_writes_the_configuration_and_nothing_else(installation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = installation.here("init", "--db-path", "data/one.db", "--storage-path", "files")
    assert first.returncode == 0, first.stderr
    assert str(installation.config_file) in first.stdout
    assert not (installation.directory / "data").exists()
    docex = installation.here("basket", "create", "--name", "kept")
    assert docex.returncode == 0, docex.stderr
    before = installation.files()

    refused = installation.here("init")
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert installation.files() == before

    environment = {**installation.environment, "DOCEX_DB_PASSWORD": "hush hush"}
    installation.environment = environment
    forced = installation.here("init", "--force", "--db-type", "postgresql", "--db-host", "db", "--db-user", "docex")
    assert forced.returncode == 0, forced.stderr
    assert "hush" not in forced.stdout + forced.stderr
    config = DocEXConfig()
    assert config.get("database.type") == "postgresql"
    assert config.get("database.postgres.password") == "hush hush"
    assert config.get("storage.filesystem.path") == "storage/docex"
    changed = {name for name, checksum in installation.files().items() if before.get(name) != checksum}
    assert changed == {"home/config.yaml"}


def test_init_from_a_file(installation: Any) -> None:
    (installation.directory / "ours.yaml").write_text("security: {multi_tenancy_model: database_level}\n")
    ran = installation.here("init", "--config", "ours.yaml", "--log-level", "warning")
    assert ran.returncode == 0, ran.stderr
    assert DocEXConfig().validate().by_tenant
    assert DocEXConfig().get("logging.level") == "WARNING"
    missing = installation.here("init", "--force", "--config", "none.yaml")
    assert missing.returncode == 1
    assert "there is no such file" in missing.stderr


def test_warnings_are_told_in_a_line(installation: Any) -> None:
    installation.config_file.parent.mkdir()
    installation.config_file.write_text("databse: {}\nsecurity: {multi_tenancy_model: database_level}\n")
    ran = installation.run("tenant", "list")
    assert ran.returncode == 0
    assert ran.stderr.splitlines() == [
        f"Warning: {installation.config_file}: unknown keys have no effect: databse",
        "No tenants found.",
    ]


def test_a_terminal_that_knows_no_emoji(installation: Any) -> None:
    installation.setup()
    installation.environment = {**installation.environment, "PYTHONIOENCODING": "ascii"}
    ran = installation.run("provision-tenant", "--tenant-id", "acme-corp")
    assert ran.returncode == 0, ran.stderr
    assert "Tenant 'acme-corp' provisioned successfully!" in ran.stdout


def test_tenants_are_looked_after_by_the_engines_commands(anywhere: Any) -> None:
    anywhere.setup().docex()
    shown = anywhere.here("tenant", "show", "--slug", "acme-corp")
    assert shown.returncode == 0, shown.stderr
    assert "provision done" in shown.stdout
    migrated = anywhere.here("tenant", "migrate", "--slug", "acme-corp")
    assert migrated.returncode == 0, migrated.stderr
    kept = anywhere.here("tenant", "cleanup", "--slug", "acme-corp")
    assert kept.returncode == 1
    assert "is not failed" in kept.stderr
    assert anywhere.stores() == ["acme-corp"]
    unknown = anywhere.here("tenant", "migrate", "--slug", "nope")
    assert unknown.stderr == (
        "❌ Error: Tenant 'nope' is not provisioned. Run: docex provision-tenant --tenant-id nope\n"
    )
