"""Suspended, archived, renamed, deleted: what follows what, what is left, and what a kill leaves to finish."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from tenantry.errors import (
    ArchiveError,
    NotConfirmed,
    RestoreUnfinished,
    StatusRefused,
    StoreError,
    TenancyError,
    TenantExists,
    TenantNotActive,
    TenantNotFailed,
    TenantNotFound,
)
from tenantry.tenant import TenantStatus


def kinds(tenancy, slug) -> list[tuple[str, str]]:
    return [(operation.kind, operation.status) for operation in tenancy.operations(slug)]


def notes(tenancy, slug) -> int:
    with tenancy.session(slug) as session:
        return session.execute(sa.text("SELECT count(*) FROM organization")).scalar()


@pytest.fixture
def tenancy(place, simple, tmp_path):
    tenancy = place.tenancy(simple, archives=tmp_path / "archives")
    tenancy.provision("acme")
    place.write("acme", "INSERT INTO organization (id, name) VALUES (1, 'a'), (2, 'b')")
    return tenancy


def test_suspended_tenant_is_not_served_and_keeps_its_data(place, tenancy) -> None:
    assert tenancy.archive.suspend("acme").status is TenantStatus.SUSPENDED
    with pytest.raises(TenantNotActive), tenancy.session("acme"):
        pass
    with pytest.raises(StatusRefused):
        tenancy.archive.suspend("acme")
    assert tenancy.archive.resume("acme").status is TenantStatus.ACTIVE
    with pytest.raises(StatusRefused):
        tenancy.archive.resume("acme")
    assert notes(tenancy, "acme") == 2
    assert kinds(tenancy, "acme")[:2] == [("resume", "done"), ("suspend", "done")]
    assert [entry.action for entry in tenancy.registry.audit_entries("acme", limit=2)] == [
        "tenant.resume",
        "tenant.suspend",
    ]


def test_archived_tenant_lies_in_its_file_alone_and_comes_back_as_it_was(place, tenancy, tmp_path) -> None:
    tenancy.archive.suspend("acme")
    before = place.everything("acme")
    archived = tenancy.archive.archive("acme")
    assert archived.tenant.status is TenantStatus.ARCHIVED
    assert place.physical() == set()
    with pytest.raises(TenantNotActive), tenancy.session("acme"):
        pass
    for refused in (tenancy.migrate, tenancy.activate, tenancy.archive.suspend, tenancy.archive.resume):
        with pytest.raises(StatusRefused):
            refused("acme")
    assert tenancy.archive.archive("acme").path == archived.path  # nothing is left to do
    assert tenancy.archive.archive("acme", to=archived.path.parent).path == archived.path
    with pytest.raises(ArchiveError, match="archived there already"):
        tenancy.archive.archive("acme", to=tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    assert tenancy.archive.unarchive("acme").status is TenantStatus.SUSPENDED
    assert place.everything("acme") == before
    with pytest.raises(StatusRefused):
        tenancy.archive.unarchive("acme")
    assert {finding.kind for finding in tenancy.fleet.doctor()} <= {"setting"}


def test_deleted_tenant_leaves_a_report_and_the_backups_that_were_made(place, tenancy, tmp_path) -> None:
    saved = tenancy.archive.backup("acme", to=tmp_path / "b")
    with pytest.raises(NotConfirmed):
        tenancy.archive.delete("acme", confirm="acm")
    with pytest.raises(StatusRefused):
        tenancy.archive.delete("acme", confirm="acme")
    archived = tenancy.archive.archive("acme")
    erasure = tenancy.archive.delete("acme", confirm="acme")
    [file] = [entry for entry in erasure.removed if entry["what"] == "archive"]
    assert (file["where"], file["rows"]) == (str(archived.path), 3)
    assert file["tables"]["organization"][0] == 2
    assert list(erasure.kept) == [str(saved.path)]
    assert not archived.path.exists()
    assert saved.path.exists()
    assert tenancy.registry.find("acme") is None
    [entry] = tenancy.registry.audit_entries("acme", action="tenant.delete")
    assert entry.details["removed"] == [dict(one) for one in erasure.removed]
    assert place.physical() == set()
    tenancy.provision("acme")  # the name is free again
    assert notes(tenancy, "acme") == 0


def test_renamed_tenant_is_the_same_under_another_name(place, tenancy) -> None:
    tenancy.provision("taken")
    before, uid = place.everything("acme"), tenancy.get("acme").uid
    with pytest.raises(TenantExists):
        tenancy.archive.rename("acme", "taken")
    with pytest.raises(TenantNotFound):
        tenancy.archive.rename("nobody", "else")
    with tenancy.session("acme") as session:
        session.execute(sa.text("SELECT 1"))  # its file stays open in the store
    renamed = tenancy.archive.rename("acme", "bravo")
    assert (renamed.uid, renamed.location) == (uid, place.location("bravo"))
    assert place.everything("bravo") == before
    assert place.physical() == place.belongings(tenancy.list())
    with pytest.raises(TenantNotFound), tenancy.session("acme"):
        pass
    assert notes(tenancy, "bravo") == 2
    with tenancy.session("bravo") as session:
        session.execute(sa.text("INSERT INTO organization (id, name) VALUES (3, 'c')"))
        if place.on_postgres:
            with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                session.execute(sa.text("SELECT * FROM org_taken.organization"))
    tenancy.provision("acme")  # the old name is free, and another tenant's now
    assert notes(tenancy, "acme") == 0
    tenancy.archive.archive("bravo")
    tenancy.archive.rename("bravo", "charlie")
    assert tenancy.archive.unarchive("charlie").location == place.location("charlie")
    assert len(place.rows("charlie", "organization")) == (3 if not place.on_postgres else 2)


def test_function_that_names_its_schema_keeps_a_tenant_from_being_renamed(place, tenancy) -> None:
    if not place.on_postgres:
        return
    place.write(
        "acme", "CREATE FUNCTION n() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM org_acme.organization'"
    )
    with pytest.raises(StoreError, match=r"n\(\)"):
        tenancy.archive.rename("acme", "bravo")
    assert (tenancy.get("acme").status, notes(tenancy, "acme")) == ("active", 2)


def test_no_write_is_lost_while_a_tenant_is_archived(place, tenancy) -> None:
    """Whoever was told that a row is kept finds it after the tenant came back."""
    kept, stop = [], threading.Event()

    def write() -> None:
        number = 10
        while not stop.is_set():
            number += 1
            try:
                with tenancy.session("acme", write=True) as session:
                    session.execute(sa.text("INSERT INTO organization (id) VALUES (:n)"), {"n": number})
            except (TenancyError, sa.exc.DBAPIError):
                continue
            kept.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(kept) < 20:
            pass
        tenancy.archive.archive("acme")
    finally:
        stop.set()
        writer.join()
    tenancy.archive.unarchive("acme")
    assert {row[0] for row in place.rows("acme", "organization", "id")} == {1, 2, *kept}


def test_tenant_whose_restoring_was_killed_is_not_made_empty(place, simple, tenancy, tmp_path) -> None:
    saved = tenancy.archive.backup("acme", to=tmp_path / "b")
    source = """
    def work(tenancy, step):
        tenancy.observe(lambda slug, now: os.kill(os.getpid(), 9) if now == step else None)
        tenancy.archive.restore(PATH, slug="bravo")
    """.replace("PATH", repr(str(saved.path)))
    assert place.killed(place.children(simple, source, ["rows"])[0])
    assert tenancy.get("bravo").status is TenantStatus.PROVISIONING
    for refused in (tenancy.migrate, tenancy.ensure):
        with pytest.raises(RestoreUnfinished):
            refused("bravo")
    tenancy.archive.restore(saved.path, slug="bravo")
    assert place.everything("bravo") == place.everything("acme")


KILLS = {
    "restore": ["files", "create", "rows", "activate", "mid"],
    "archive": ["save", "verify", "withdraw", "drop", "files", "record", "mid"],
    "unarchive": ["clear", "files", "create", "rows", "activate", "mid"],
    "rename": ["copy", "rename", "files", "clear", "record", "mid"],
    "delete": ["drop", "files", "record", "mid"],
}


def test_killed_anywhere_each_operation_is_finished_by_the_same_command_and_no_row_is_lost(
    place, simple, tenancy, tmp_path
) -> None:
    """At the beginning of every step, and in the middle: a moment that a random delay finds."""
    saved = tenancy.archive.backup("acme", to=tmp_path / "b")
    expected = place.everything("acme")
    cases = []
    for operation, steps in KILLS.items():
        for step in steps:
            slug = f"t-{operation}-{step}"
            if operation != "restore":
                tenancy.archive.restore(saved.path, slug=slug)
            if operation in ("unarchive", "delete"):
                tenancy.archive.archive(slug)
            cases.append([operation, step, slug])
    source = """
    import random, time
    def work(tenancy, case):
        operation, step, slug = case
        tenancy._archives = ARCHIVES
        if step == "mid":
            def die():
                time.sleep(random.random() * 0.02)
                os.kill(os.getpid(), 9)
            tenancy.observe(lambda slug, now: threading.Thread(target=die).start())
        else:
            tenancy.observe(lambda slug, now: os.kill(os.getpid(), 9) if now == step else None)
        run(tenancy.archive, operation, slug)
        time.sleep(0.1)
    def run(archive, operation, slug):
        if operation == "restore":
            archive.restore(PATH, slug=slug)
        elif operation == "rename":
            archive.rename(slug, slug + "-new")
        elif operation == "delete":
            archive.delete(slug, confirm=slug)
        else:
            getattr(archive, operation)(slug)
    """.replace("PATH", repr(str(saved.path))).replace("ARCHIVES", repr(str(tmp_path / "archives")))
    outcomes = place.children(simple, source, cases)
    only = {"copy": not place.on_postgres, "clear": True}
    died = {tuple(case): place.killed(outcome) for case, outcome in zip(cases, outcomes, strict=True)}
    missed = [case for case, dead in died.items() if not dead and only.get(case[1], True) and case[1] != "mid"]
    assert missed == []
    for operation, step, slug in cases:
        finish(tenancy, operation, slug, saved.path)
        if operation == "delete":
            assert tenancy.registry.find(slug) is None, (operation, step)
            continue
        now = f"{slug}-new" if operation == "rename" else slug
        if operation == "archive":
            assert not tenancy.exists(slug), (operation, step)
            tenancy.archive.unarchive(slug)
        assert tenancy.get(now).status is TenantStatus.ACTIVE, (operation, step)
        assert place.everything(now) == expected, (operation, step)
    assert place.physical() == place.belongings(tenancy.list())
    assert [o for o in tenancy.registry.operations(limit=500) if o.status == "running"] == []
    assert {finding.kind for finding in tenancy.fleet.doctor()} <= {"setting"}


def finish(tenancy, operation: str, slug: str, path: Path) -> None:
    """Type the same command again; when all of it was done before the kill, it says so."""
    try:
        match operation:
            case "restore":
                tenancy.archive.restore(path, slug=slug)
            case "rename":
                tenancy.archive.rename(slug, f"{slug}-new")
            case "delete":
                tenancy.archive.delete(slug, confirm=slug)
            case "archive":
                tenancy.archive.archive(slug)
            case "unarchive":
                tenancy.archive.unarchive(slug)
    except (TenantExists, TenantNotFound, StatusRefused):
        done = {"restore": slug, "unarchive": slug, "rename": f"{slug}-new"}.get(operation)
        assert (tenancy.registry.find(slug) is None) if done is None else tenancy.get(done).status == "active"


def test_cleanup_leaves_to_delete_what_delete_began(place, simple, tenancy, tmp_path) -> None:
    tenancy.archive.archive("acme")
    source = """
    def work(tenancy, step):
        tenancy._archives = ARCHIVES
        tenancy.observe(lambda slug, now: os.kill(os.getpid(), 9) if now == step else None)
        tenancy.archive.delete("acme", confirm="acme")
    """.replace("ARCHIVES", repr(str(tmp_path / "archives")))
    assert place.killed(place.children(simple, source, ["files"])[0])
    assert tenancy.cleanup() == []
    with pytest.raises(TenantNotFailed):
        tenancy.cleanup("acme")
    assert [finding.mend for finding in tenancy.fleet.doctor() if finding.subject == "acme"] == [
        "tenant delete acme --confirm acme"
    ]
    erasure = tenancy.archive.delete("acme", confirm="acme")
    assert [entry["what"] for entry in erasure.removed if entry["what"] == "archive"] == ["archive"]
    assert list((tmp_path / "archives").iterdir()) == []
