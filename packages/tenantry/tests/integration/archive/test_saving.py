"""A tenant saved and restored is the same tenant; a file that is not whole makes nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import re
import tarfile
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from tenantry.archive import FolderFiles
from tenantry.archive.container import Reader, writing
from tenantry.archive.sources import reading
from tenantry.errors import (
    ArchiveDamaged,
    ArchiveError,
    ArchiveForeign,
    ArchiveMissing,
    ArchiveUnfit,
    StatusRefused,
    StoreExists,
    TenantExists,
    TenantNotFound,
    UnknownRevision,
)
from tenantry.tenant import TenantStatus


def sums(tenancy, slug) -> dict[str, tuple[int, str]]:
    """Rows and hash of every table, as a backup taken now would say."""
    import hashlib

    found = {}
    with reading(tenancy.store, tenancy.get(slug), "alembic_version") as source:
        for table in source.shape.tables:
            content = b"".join(source.rows(table))
            found[table.name] = (content.count(b"\n"), hashlib.sha256(content).hexdigest())
        found["schema"] = (0, source.shape.digest(rights=True))
        found["sequences"] = (0, repr(sorted(map(repr, source.sequences()))))
    return found


def bare(shape) -> dict[str, list[str]]:
    """Without the casts and their brackets, which the server writes differently once it has read its own text."""
    return {
        kind: [re.sub(r"::(text|character varying)(\[\])?|[()]", "", text) for text in texts]
        for kind, texts in shape.items()
    }


def test_restored_tenant_equals_the_saved_one_in_schema_rows_rights_and_sequences(place, filled, tmp_path) -> None:
    before = sums(filled, "acme")
    saved = filled.archive.backup("acme", to=tmp_path / "b")
    assert os.stat(saved.path).st_mode & 0o777 == 0o600
    assert sums(filled, "acme") == before
    assert {table.name: (table.rows, table.sha256) for table in saved.manifest.tables}.items() <= before.items()
    assert filled.archive.verify_backup(saved.path).manifest == saved.manifest
    tenant = filled.archive.restore(saved.path, slug="bravo")
    assert (tenant.status, tenant.revision, tenant.attributes) == ("active", "r2", {"plan": "gold"})
    assert (tenant.name, tenant.admin_email) == ("bravo", "a@example.com")
    after = sums(filled, "bravo")
    assert {k: v for k, v in after.items() if v != before[k]} == {}
    assert bare(place.shape("bravo")) == bare(place.shape("acme"))
    assert place.everything("bravo") == place.everything("acme")
    # It works: its own sessions write, its keys go on where they stood.
    with filled.session("bravo") as session:
        session.execute(sa.text("INSERT INTO thing (label) VALUES ('new')"))
        if place.on_postgres:
            assert session.execute(sa.text("SELECT nextval('ticket')")).scalar() == 1015
    if place.on_postgres:
        with filled.session("bravo") as session, pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            session.execute(sa.text("DELETE FROM alembic_version"))
    else:
        place.write("bravo", "INSERT INTO counted (any_value) VALUES (1)")
        assert place.rows("bravo", "counted", "max(id)") == [(10,)]
        assert place.rows("bravo", "search", "count(*)") == [(4,)]
        assert place.rows("acme", "search", "count(*)") == [(3,)]
    # And once more from what was restored.
    assert [t.sha256 for t in filled.archive.backup("acme", to=tmp_path / "c").manifest.tables] == [
        t.sha256 for t in saved.manifest.tables
    ]


def test_names_that_are_taken_are_refused_and_nothing_is_made(place, filled, tmp_path) -> None:
    saved = filled.archive.backup("acme", to=tmp_path / "b")
    with pytest.raises(TenantExists):
        filled.archive.restore(saved.path)
    with pytest.raises(TenantNotFound):
        filled.archive.backup("nobody", to=tmp_path / "b")
    if place.on_postgres:
        from tenantry.migrations.catalog import quote

        place.write("acme", f"CREATE SCHEMA {quote('org_taken')}")
        with pytest.raises(StoreExists):
            filled.archive.restore(saved.path, slug="taken")
    with pytest.raises(ArchiveError, match="not written over"):
        filled.archive.export("acme", format="csv", to=saved.path)
    assert [tenant.slug for tenant in filled.list()] == ["acme"]


def test_lost_place_is_restored_into_its_own_record(place, filled, tmp_path) -> None:
    before = sums(filled, "acme")
    saved = filled.archive.backup("acme", to=tmp_path / "b")
    filled.store.remove(filled.get("acme"))
    assert not filled.exists("acme")
    uid = filled.get("acme").uid
    assert filled.archive.restore(saved.path).uid == uid
    assert sums(filled, "acme") == before


def test_file_that_is_cut_flipped_padded_or_foreign_is_refused_before_anything_is_made(place, filled, tmp_path) -> None:
    saved = filled.archive.backup("acme", to=tmp_path / "b")
    whole = saved.path.read_bytes()
    there = place.physical()
    chance = random.Random(7)
    bad = tmp_path / "bad.tenantry"
    damaged = [whole[: chance.randrange(len(whole))] for _ in range(25)] + [whole + b"\0", whole + b"x" * 512, b""]
    for _ in range(60):
        at = chance.randrange(len(whole))
        damaged.append(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
    for content in damaged:
        bad.write_bytes(content)
        with pytest.raises((ArchiveDamaged, ArchiveForeign)):
            filled.archive.restore(bad, slug="bravo")
    with tarfile.open(bad, "w") as tar:
        tar.add(__file__, "x")
    with pytest.raises(ArchiveForeign):
        filled.archive.verify_backup(bad)
    with pytest.raises(ArchiveMissing):
        filled.archive.restore(tmp_path / "nowhere.tenantry", slug="bravo")
    assert [tenant.slug for tenant in filled.list()] == ["acme"]
    assert place.physical() == there


def test_saved_tenant_of_a_newer_build_or_another_application_is_refused(
    place, filled, things, chains, tmp_path
) -> None:
    saved = filled.archive.backup("acme", to=tmp_path / "b")
    other = place.tenancy(chains().add("x1", "pass"))
    with pytest.raises(UnknownRevision, match="r2"):
        other.archive.restore(saved.path, slug="bravo")
    assert [tenant.slug for tenant in filled.list()] == ["acme"]


def test_backup_is_one_moment_of_a_tenant_that_is_being_written(place, simple, tmp_path) -> None:
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with tenancy.session("acme", write=True) as session:
                session.execute(sa.text("INSERT INTO organization (id) VALUES (:n)"), {"n": number})
                session.execute(sa.text("INSERT INTO note (id, organization_id) VALUES (:n, :n)"), {"n": number})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        saved = [tenancy.archive.backup("acme", to=tmp_path / "b") for _ in range(5)]
    finally:
        stop.set()
        writer.join()
    for one in saved:
        rows = {table.name: table.rows for table in one.manifest.tables}
        assert rows["organization"] == rows["note"]
    tenancy.archive.restore(saved[-1].path, slug="bravo")
    assert len(place.rows("bravo", "note")) == rows["note"]


def test_files_beside_the_tables_go_with_the_tenant(place, simple, tmp_path) -> None:
    files = FolderFiles("documents", lambda tenant: tmp_path / "documents" / tenant.slug)
    tenancy = place.tenancy(simple, files=[files], archives=tmp_path / "archives")
    tenant = tenancy.provision("acme").tenant
    kept = {"a/b.txt": b"one", "c.bin": os.urandom(700_000), "e": b""}
    for path, content in kept.items():
        target = tmp_path / "documents" / "acme" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def held(slug: str) -> dict[str, bytes]:
        root = tmp_path / "documents" / slug
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    saved = tenancy.archive.backup("acme", to=tmp_path / "b")
    assert [entry.files for entry in saved.manifest.files] == [3]
    tenancy.archive.restore(saved.path, slug="bravo")
    assert held("bravo") == kept
    tenancy.archive.rename("bravo", "charlie")
    assert (held("charlie"), held("bravo")) == (kept, {})
    tenancy.archive.archive("charlie")
    assert held("charlie") == {}
    tenancy.archive.unarchive("charlie")
    assert held("charlie") == kept
    tenancy.archive.archive("charlie")
    tenancy.archive.delete("charlie", confirm="charlie")
    assert held("charlie") == {}
    assert held("acme") == kept
    assert tenant == tenancy.get("acme")
    with pytest.raises(ArchiveUnfit, match="documents"):
        place.tenancy(simple).archive.restore(saved.path, slug="delta")


def test_every_tenant_is_saved_and_one_that_cannot_be_is_told(place, simple, tmp_path) -> None:
    tenancy = place.tenancy(simple)
    for slug in ("acme", "bravo", "charlie"):
        tenancy.provision(slug)
    tenancy.archive.suspend("charlie")
    tenancy.store.remove(tenancy.get("bravo"))
    outcomes = list(tenancy.archive.backup_all(to=tmp_path / "b"))
    assert [(outcome.slug, outcome.saved is not None) for outcome in outcomes] == [
        ("acme", True),
        ("bravo", False),
        ("charlie", True),
    ]
    assert "missing" in (outcomes[1].error or "")
    assert len(list((tmp_path / "b").iterdir())) == 2
    tenancy.archive.archive("charlie", to=tmp_path / "b")
    with pytest.raises(StatusRefused):
        tenancy.archive.backup("charlie", to=tmp_path / "b")
    assert tenancy.get("charlie").status is TenantStatus.ARCHIVED


def test_exports_are_read_by_other_programs(place, filled, tmp_path) -> None:
    import csv
    import sqlite3
    from contextlib import closing

    import pyarrow.parquet

    things = place.rows("acme", "thing", "id", "label", "rough")
    exported = filled.archive.export("acme", format="sqlite", to=tmp_path / "e.db")
    assert exported.rows["thing"] == 3
    with closing(sqlite3.connect(tmp_path / "e.db")) as file:
        assert file.execute("SELECT id, label, rough FROM thing ORDER BY id").fetchall() == things
        assert file.execute("SELECT at, day, exact, body FROM thing WHERE id = 5").fetchone() == (
            "2026-02-03 04:05:06.070809",
            "2026-02-03",
            12.3456,
            bytes.fromhex("00ff0a09"),
        )
    filled.archive.export("acme", format="csv", to=tmp_path / "csv")
    with (tmp_path / "csv" / "thing.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted((int(row["id"]), row["label"]) for row in rows) == [(5, things[0][1]), (6, ""), (7, "")]
    filled.archive.export("acme", format="parquet", to=tmp_path / "parquet")
    table = pyarrow.parquet.read_table(tmp_path / "parquet" / "thing.parquet").to_pylist()
    assert sorted((int(row["id"]), row["label"]) for row in table) == [(row[0], row[1]) for row in things]
    assert len(list(Path(tmp_path / "parquet").iterdir())) == len(exported.rows)
    assert [entry.action for entry in filled.registry.audit_entries("acme", limit=3)] == ["tenant.export"] * 3


def test_manifest_says_what_is_in_the_file(filled, tmp_path) -> None:
    saved = filled.archive.backup("acme", to=tmp_path / "b")
    with tarfile.open(saved.path) as tar:
        names = tar.getnames()
        told = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert names[-2:] == ["manifest.json", "SHA256SUMS"]
    assert (told["slug"], told["revision"], told["fingerprint"]) == ("acme", "r2", saved.manifest.fingerprint)
    assert {table["name"]: table["rows"] for table in told["tables"]}["thing"] == 3
    assert [entry.details["file"] for entry in filled.registry.audit_entries("acme", action="tenant.backup")] == [
        str(saved.path)
    ]


def test_what_could_not_be_made_anew_is_named_and_not_saved(place, simple, tmp_path) -> None:
    if not place.on_postgres:
        return
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    place.write(
        "acme",
        "CREATE TYPE pair AS (a integer, b integer)",
        "CREATE TABLE child () INHERITS (organization)",
        "CREATE RULE quiet AS ON DELETE TO note DO INSTEAD NOTHING",
        "CREATE AGGREGATE total (integer) (sfunc = int4pl, stype = integer)",
    )
    with pytest.raises(ArchiveUnfit) as raised:
        tenancy.archive.backup("acme", to=tmp_path / "b")
    told = "; ".join(raised.value.args[1])
    assert [name for name in ("pair", "child", "rule quiet", "total") if name not in told] == [], told
    assert not (tmp_path / "b").exists()


def test_schema_that_does_not_come_out_as_it_was_saved_is_not_kept(place, filled, tmp_path) -> None:
    saved = filled.archive.backup("acme", to=tmp_path / "b")

    def forged(name: str, **changes: object) -> Path:
        """The same file with another manifest, as whole as the first."""
        reader = Reader(saved.path)
        with writing(tmp_path / name) as writer:
            for entry in (*saved.manifest.tables, *saved.manifest.files):
                with writer.member(entry.member) as member:
                    for chunk in reader.chunks(entry.member):
                        member.write(chunk)
            writer.finish(dataclasses.replace(saved.manifest, **changes).to_bytes())
        reader.close()
        return tmp_path / name

    there = place.physical()
    without = tuple(text for text in saved.manifest.after_rows if "ix_thing_label" not in text)
    with pytest.raises(ArchiveUnfit, match=r"index thing\.ix_thing_label was not made"):
        filled.archive.restore(forged("without", after_rows=without), slug="bravo")
    other = {**saved.manifest.objects, "index thing.ix_thing_label": "0"}
    with pytest.raises(ArchiveUnfit, match=r"index thing\.ix_thing_label is not what it was"):
        filled.archive.restore(forged("changed", objects=other, fingerprint="0"), slug="bravo")
    assert place.physical() == there
    # Another major version of the server may write the same object in another way.
    tenant = filled.archive.restore(forged("old", objects=other, fingerprint="0", server="9.6.1"), slug="bravo")
    assert tenant.status is TenantStatus.ACTIVE
