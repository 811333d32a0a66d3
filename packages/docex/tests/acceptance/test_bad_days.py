"""Races, kills and broken surroundings: each tenant made once, one clear line, and the state as before or resumable."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa

from docex import DocEX
from docex.errors import DatabaseError, TenantNotServed
from docex.models.tables import BasketRow
from docex.provisioning import TenantProvisioner
from docex.tenancy import Made, configured

# Makes many processes at once out of one that has loaded everything: they meet at the barrier, not in their imports.
FORKS = """
import os, sys, traceback
from docex import DocEX, UserContext
import docex.database, docex.tenancy, tenantry.provisioning, tenantry.migrations.compiler
from docex.tenancy import configured
reader, writer = os.pipe()
children = []
for number in range({processes}):
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)  # until the parent closes the other end
        try:
{work}
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    children.append(child)
os.close(reader)
os.close(writer)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


def forked(installation: Any, processes: int, work: str) -> tuple[list[int], str]:
    """Run the work in so many processes at once; return their exit codes and what they complained about."""
    indented = "\n".join(f"            {line}" for line in work.splitlines())
    ran = installation.command([sys.executable, "-c", FORKS.format(processes=processes, work=indented)], timeout=150)
    assert ran.returncode == 0, ran.stderr
    codes: list[int] = eval(ran.stdout)
    return codes, ran.stderr


@pytest.mark.parametrize("tenants", [1, 8])
def test_eight_processes_race_on_the_first_access(anywhere: Any, tenants: int) -> None:
    anywhere.setup()
    codes, said = forked(
        anywhere,
        8,
        f"""
name = f"tenant-{{number % {tenants}}}"
basket = DocEX(UserContext(user_id=str(number), tenant_id=name)).create_basket(f"basket-{{number}}")
assert basket.name == f"basket-{{number}}"
""",
    )
    assert codes == [0] * 8, said
    names = sorted(f"tenant-{number}" for number in range(tenants))
    assert anywhere.stores() == names
    assert sorted(tenant.slug for tenant in configured().list()) == names
    for name in names:
        assert anywhere.query("SELECT count(*) FROM docbasket", name) == [(8 // tenants,)]
        # Had it been made twice, the baskets of the first would be gone: none of the processes failed to make its own.
        assert configured().get(name).status.value == "active"


def test_processes_race_on_the_first_use_without_tenants(anywhere: Any) -> None:
    anywhere.setup(security={})
    codes, said = forked(anywhere, 8, 'DocEX().basket("shared")')
    assert codes == [0] * 8, said
    assert [basket.name for basket in DocEX().list_baskets()] == ["shared"]


def test_killed_at_any_step_the_tenant_can_be_finished(anywhere: Any) -> None:
    anywhere.setup()
    steps = ("reserve", "create", "migrate", "seed", "verify", "activate")
    configured().initialize()
    codes, said = forked(
        anywhere,
        len(steps),
        f"""
import signal
step = {steps!r}[number]
configured().observe(lambda slug, now: now == step and os.kill(os.getpid(), signal.SIGKILL))
DocEX(UserContext(user_id="alice", tenant_id=f"killed-{{step}}"))
""",
    )
    assert codes == [-signal.SIGKILL] * len(steps), said
    assert anywhere.stores() == []
    listed = {tenant.slug: tenant.status.value for tenant in configured().list()}
    assert listed == {f"killed-{step}": "provisioning" for step in steps[1:]}
    with pytest.raises(TenantNotServed, match="Finish it with: docex provision-tenant"):
        anywhere.docex("killed-create", provision=False)

    assert TenantProvisioner().provision("killed-reserve") is Made.NEW
    assert TenantProvisioner().provision("killed-create") is Made.FINISHED
    for step in steps[2:]:  # the first access finishes it too
        anywhere.docex(f"killed-{step}").create_basket("one")
    assert anywhere.stores() == sorted(f"killed-{step}" for step in steps)
    assert {tenant.status.value for tenant in configured().list()} == {"active"}
    if anywhere.kind == "sqlite":
        assert list(anywhere.directory.rglob("*.tmp*")) == []


def test_killed_while_a_document_is_added_there_is_no_half_of_it(anywhere: Any) -> None:
    basket = anywhere.setup().docex().create_basket("invoices")
    paths = [anywhere.file(f"{number}.txt", f"text {number}".encode()) for number in range(3)]
    codes, said = forked(
        anywhere,
        3,
        f"""
import signal
from docex.services.intake import Intake
from docex.storage.filesystem import FilesystemStorage
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
if number == 0:
    FilesystemStorage.publish = die
elif number == 1:
    FilesystemStorage.link = die
else:
    Intake._complete = die  # when its rows are written
DocEX(UserContext("a", tenant_id="acme-corp")).get_basket({basket.id!r}).add({paths!r}[number])
""",
    )
    assert codes == [-signal.SIGKILL] * 3, said
    assert basket.list_documents() == []
    docex = anywhere.docex()
    assert {found.kind for found in docex.fsck().findings} <= {"stray content", "stray path", "leftover"}
    assert docex.fsck(mend=True, older_than=0).clean
    assert docex.fsck(older_than=0).findings == []
    assert [basket.add(path).get_content() for path in paths] == [b"text 0", b"text 1", b"text 2"]
    basket.delete()
    assert docex.fsck(older_than=0).findings == []


def test_connections_cut_by_the_server_are_one_error_at_most(on_postgres: Any) -> None:
    docex = on_postgres.setup().docex()
    basket = docex.create_basket("one")
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()" + (
        " AND datname = current_database()"
    )

    def work() -> None:
        with docex.db.session(write=True) as session:
            session.add(BasketRow(name="lost", storage_config={}))
            session.flush()
            on_postgres.query(cut)
            session.execute(sa.text("SELECT 1"))

    with pytest.raises(DatabaseError, match="Cannot connect"):
        work()
    path = on_postgres.file("one.txt", b"one")
    asked: list[Callable[[], object]] = [
        docex.list_baskets,
        basket.list_documents,
        lambda: basket.find_documents_by_metadata({"key": "value"}),
        lambda: basket.add(path, metadata={"key": "value"}),
        lambda: basket.list_documents(order_by="size", order_desc=True),
    ]
    for ask in asked:
        on_postgres.query(cut)
        with suppress(DatabaseError):  # the pool may not have noticed yet
            ask()
        ask()
    assert [found.id for found in docex.list_baskets()] == [basket.id]
    assert [found.get_content() for found in basket.find_documents_by_metadata({"key": "value"})] == [b"one"]


def one_line(ran: subprocess.CompletedProcess[str], *words: str) -> None:
    assert ran.returncode == 1, ran
    assert ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    assert ran.stderr.startswith("❌ Error: ")
    for word in words:
        assert word in ran.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"host": "127.0.0.1", "port": 1}, ("Cannot connect",)),
        ({"user": "nobody_of_that_name"}, ("Cannot connect", "nobody_of_that_name")),
        ({"database": "nothing_of_that_name"}, ("Cannot connect", "nothing_of_that_name")),
        ({"sslmode": "verify-full", "host": "localhost", "port": 1}, ("Cannot connect",)),
    ],
)
def test_a_server_that_cannot_be_used(on_postgres: Any, change: dict[str, Any], words: tuple[str, ...]) -> None:
    database = on_postgres.database()
    database["postgres"] |= {"password": "hush hush", **change}
    on_postgres.setup(database=database)
    before = on_postgres.files()
    for command in (["provision-tenant", "--tenant-id", "acme-corp"], ["basket", "list", "--tenant-id", "acme-corp"]):
        ran = on_postgres.here(*command)
        one_line(ran, *words)
        assert "hush" not in ran.stderr
    assert len(DocEX.get_setup_errors()) == 1
    assert on_postgres.files() == before


def test_a_damaged_configuration(installation: Any) -> None:
    installation.config_file.parent.mkdir()
    installation.config_file.write_text("security: [\n")
    before = installation.files()
    for options in ([], ["--enable-multi-tenancy"]):
        ran = installation.here("provision-tenant", "--tenant-id", "acme-corp", *options)
        one_line(ran, "config.yaml", "line 2", "not changed")
    assert installation.files() == before


def test_a_configuration_that_cannot_be_read_or_written(installation: Any) -> None:
    installation.config_file.mkdir(parents=True)
    one_line(installation.here("tenant", "list"), "config.yaml")
    installation.config_file.rmdir()
    installation.config_file.parent.rmdir()
    installation.config_file.parent.write_text("in the way")
    one_line(installation.here("provision-tenant", "--tenant-id", "acme-corp", "--enable-multi-tenancy"), "config.yaml")
    assert installation.stores() == []


def test_a_place_that_cannot_be_written(installation: Any) -> None:
    installation.setup()
    (installation.directory / "storage" / "docex").rmdir()
    (installation.directory / "storage").rmdir()
    (installation.directory / "storage").write_text("a file where the directory should be")
    one_line(installation.here("provision-tenant", "--tenant-id", "acme-corp"), str(installation.directory / "storage"))
    assert (installation.directory / "storage").read_text() == "a file where the directory should be"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory(installation: Any) -> None:
    installation.setup()
    storage = installation.directory / "storage"
    storage.chmod(0o500)
    try:
        one_line(installation.here("provision-tenant", "--tenant-id", "acme-corp"), str(storage))
    finally:
        storage.chmod(0o700)
    assert installation.stores() == []


@pytest.mark.parametrize("broken", ["tenant", "registry"])
def test_a_file_that_is_not_a_database(installation: Any, broken: str) -> None:
    installation.setup().docex().create_basket("one")
    DocEX.reset()
    path = "storage/registry.db" if broken == "registry" else "storage/tenant_acme-corp/docex.db"
    (installation.directory / path).write_bytes(b"not a database at all" * 100)
    before = installation.files()
    said = ("storage", "not a usable database") if broken == "registry" else ("acme-corp", "not a usable database")
    one_line(installation.here("basket", "list", "--tenant-id", "acme-corp"), *said)
    if broken == "registry":
        one_line(installation.here("provision-tenant", "--tenant-id", "other"), *said)
    assert installation.files() == before


def test_a_full_disk(installation: Any) -> None:
    """Files may not grow over 60 kB: neither the registry nor a tenant fits."""
    installation.setup()
    command = [sys.executable, "-m", "docex", "provision-tenant", "--tenant-id", "acme-corp"]
    limits = (60_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    ran = subprocess.run(
        command,
        cwd=installation.directory,
        env={**os.environ, **installation.environment},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits),
    )
    one_line(ran, "full")
    assert installation.stores() == []
    again = installation.here("provision-tenant", "--tenant-id", "acme-corp")
    assert again.returncode == 0, again.stderr
    assert installation.stores() == ["acme-corp"]


@pytest.mark.parametrize("size", [3_000_000, 500_000], ids=["a content", "the database"])
def test_a_disk_that_is_full_half_way(installation: Any, size: int) -> None:
    """Files may not grow over 1 MB, or over what the database's log has already."""
    basket = installation.setup().docex().create_basket("one")
    kept = basket.add(b"kept", name="kept.txt")
    installation.file("large.txt", b"word " * (size // 5))
    log = installation.directory / "storage" / "tenant_acme-corp" / "docex.db-wal"
    limit = 1_000_000 if size > 1_000_000 else max(size + 50_000, log.stat().st_size if log.exists() else 0)
    command = ["document", "add", "--tenant-id", "acme-corp", "--basket-id", basket.id, "--file", "large.txt"]
    ran = subprocess.run(
        [sys.executable, "-m", "docex", *command],
        cwd=installation.directory,
        env={**os.environ, **installation.environment},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)),
    )
    one_line(ran)
    docex = installation.docex()
    assert [document.id for document in docex.get_basket(basket.id).list_documents()] == [kept.id]
    assert docex.get_usage().bytes == 4
    assert {found.kind for found in docex.fsck(older_than=0).findings} <= {"stray content", "stray path", "leftover"}
    assert docex.fsck(older_than=0, mend=True).clean
    assert installation.here(*command).returncode == 0
    assert docex.get_usage().documents == 2
