"""A tenant's documents go with it into a backup, and come back with it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
from typing import Any

import boto3
import pytest

from docex.config.docex_config import DocEXConfig
from docex.storage.saved import BucketContents, OwnPlaces
from docex.tenancy import configured
from tenantry.errors import StoreError
from tenantry.tenant import TenantStatus


@pytest.fixture
def anywhere(prepared: Any) -> Any:
    """Most of a test would otherwise go into making its registry."""
    return prepared


def test_documents_are_saved_restored_renamed_and_deleted_with_their_tenant(anywhere, tmp_path) -> None:
    place = anywhere.setup()
    basket = place.docex(provision=True).create_basket("papers", "what is kept")
    kept = basket.add(place.file("letter.txt", b"Dear all"), metadata={"kind": "letter"})
    tenancy = configured()
    saved = tenancy.archive.backup("acme-corp", to=tmp_path / "backups")
    assert [(entry.provider, entry.files) for entry in saved.manifest.files] == [("documents", 1), ("own-places", 0)]
    tenancy.archive.archive("acme-corp", to=tmp_path / "archives")
    assert list((place.directory / "storage" / "docex").glob("acme-corp/**/*.*")) == []
    tenancy.archive.unarchive("acme-corp")
    elsewhere = {"type": "filesystem", "path": str(tmp_path / "elsewhere")}
    own = place.docex().create_basket("own", storage_config=elsewhere).add(b"\0own", name="own.bin")
    (tmp_path / "elsewhere" / "new-corp" / "in the way").mkdir(parents=True)
    with pytest.raises(StoreError, match="Clear the way and rename again"):
        tenancy.archive.rename("acme-corp", "new-corp")
    shutil.rmtree(tmp_path / "elsewhere" / "new-corp")
    tenancy.archive.rename("acme-corp", "new-corp")
    assert place.docex("new-corp").basket("own").get_document(own.id).get_content() == b"\0own"
    assert place.docex("new-corp").fsck(older_than=0, verify=True, mend=True).clean
    tenancy.archive.restore(saved.path)
    for tenant in ("new-corp", "acme-corp"):
        document = place.docex(tenant).basket("papers").get_document(kept.id)
        assert document.get_content() == b"Dear all"
    tenancy.archive.archive("new-corp", to=tmp_path / "archives")
    tenancy.archive.delete("new-corp", confirm="new-corp")
    assert not (place.directory / "storage" / "docex" / "new-corp").exists()
    assert not (tmp_path / "elsewhere" / "new-corp").exists()


def test_what_baskets_keep_in_places_of_their_own_goes_with_their_tenant(anywhere, tmp_path) -> None:
    place = anywhere.setup()
    docex = place.docex(provision=True)
    own = docex.create_basket("own", storage_config={"type": "filesystem", "path": str(tmp_path / "own")})
    moved = docex.create_basket("moved")
    inside = docex.create_basket("inside", storage_config={"path": str(place.directory / "storage" / "docex")})
    kept = {basket.name: basket.add(b"\0" + basket.name.encode(), name="a.bin").id for basket in (own, moved, inside)}
    docex.move_basket(moved.id, {"type": "filesystem", "path": str(tmp_path / "moved")})
    others = tmp_path / "own" / "acme-corp" / own.folder / "of somebody else.txt"
    others.write_text("not DocEX's")

    def check(tenant: str) -> None:
        opened = place.docex(tenant)
        for name, document in kept.items():
            assert opened.basket(name).get_document(document).get_content() == b"\0" + name.encode()
        opened.fsck(older_than=0, verify=True, mend=True)
        assert opened.fsck(older_than=0, verify=True).clean

    def files(directory: str, tenant: str) -> list[str]:
        return [path.name for path in (tmp_path / directory / tenant).rglob("*") if path.is_file()]

    tenancy = configured()
    saved = tenancy.archive.backup("acme-corp", to=tmp_path / "backups")
    told = [(entry.provider, entry.files) for entry in saved.manifest.files]
    assert told == [("documents", 1), ("own-places", 2)]  # the third basket names the directory of all
    tenancy.archive.restore(saved.path, slug="copied")
    check("copied")
    assert tenancy.archive.archive("acme-corp", to=tmp_path / "archives")
    assert files("own", "acme-corp") == ["of somebody else.txt"]
    assert files("moved", "acme-corp") == []
    tenancy.archive.rename("acme-corp", "new-corp")
    tenancy.archive.unarchive("new-corp")
    check("new-corp")
    check("copied")
    for tenant in ("new-corp", "copied"):
        tenancy.archive.archive(tenant, to=tmp_path / "archives")
        tenancy.archive.delete(tenant, confirm=tenant)
        assert not (tmp_path / "moved" / tenant).exists()
    assert not (tmp_path / "own" / "copied").exists()
    assert files("own", "new-corp") == ["of somebody else.txt"]


@pytest.mark.parametrize("own", [True, False], ids=["a basket's own", "configured"])
def test_tenant_whose_directory_is_not_mounted_is_neither_saved_nor_renamed(anywhere, tmp_path, own) -> None:
    place = anywhere.setup()
    config = {"type": "filesystem", "path": str(tmp_path / "own")} if own else None
    basket = place.docex(provision=True).create_basket("papers", storage_config=config)
    kept = [basket.add(content, name="a.bin") for content in (b"\0one", b"\0two")]
    mounted = tmp_path / "own" if own else place.directory / "storage" / "docex"
    mounted.rename(tmp_path / "elsewhere")
    tenancy = configured()
    said = re.escape(f"Store {mounted}/acme-corp/content: the directory is not there, and 2 contents of documents")
    for work in (
        lambda: tenancy.archive.backup("acme-corp", to=tmp_path / "saved"),
        lambda: tenancy.archive.archive("acme-corp", to=tmp_path / "saved"),
        lambda: tenancy.archive.rename("acme-corp", "new-corp"),
    ):
        with pytest.raises(StoreError, match=said):
            work()
        assert tenancy.get("acme-corp").status is TenantStatus.ACTIVE
        assert list((tmp_path / "saved").glob("*.*")) == []
    (tmp_path / "elsewhere").rename(mounted)
    saved = tenancy.archive.backup("acme-corp", to=tmp_path / "saved")
    assert sum(entry.files for entry in saved.manifest.files) == 2
    assert tenancy.archive.rename("acme-corp", "new-corp").slug == "new-corp"
    basket = place.docex("new-corp").basket("papers")
    assert [basket.get_document(each.id).get_content() for each in kept] == [b"\0one", b"\0two"]
    shutil.rmtree(mounted / "new-corp")  # lost for good
    for each in kept:
        basket.delete_document(each.id)
    assert tenancy.archive.backup("new-corp", to=tmp_path / "saved")


def test_contents_in_the_bucket_are_saved_restored_renamed_and_deleted(anywhere, s3_url, tmp_path) -> None:
    name = f"docex-saved-{tmp_path.name[-8:].strip('-_')}".replace("_", "-")
    account = {"endpoint_url": s3_url, "access_key": "a", "secret_key": "b"}
    settings = {"bucket": name, "prefix": "live", **account}
    place = anywhere.setup(storage={"type": "s3", "s3": settings})
    basket = place.docex(provision=True).create_basket("papers")
    large = bytes(range(256)) * 40_000  # 10 MB: goes in parts
    kept = [basket.add(place.file("letter.txt", b"Dear all")), basket.add(place.file("scan.bin", large))]
    own = place.docex().create_basket("own", storage_config={"type": "s3", "s3": {"prefix": "live/own"}})
    own.add(place.file("own.txt", b"my own"))
    client = boto3.client(
        "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )

    def keys(tenant: str) -> list[str]:
        found = client.list_objects_v2(Bucket=name, Prefix=f"{tenant}/").get("Contents", ())
        return [entry["Key"] for entry in found]

    def read(tenant: str) -> list[bytes]:
        return [place.docex(tenant).basket("papers").get_document(each.id).get_content() for each in kept]

    tenancy = configured()
    saved = tenancy.archive.backup("acme-corp", to=tmp_path / "backups")
    told = [(entry.provider, entry.files) for entry in saved.manifest.files]
    assert told == [("documents", 0), ("bucket", 2), ("own-places", 1)]
    tenancy.archive.restore(saved.path, slug="copied")
    assert read("copied") == [b"Dear all", large]
    assert place.docex("copied").basket("own").list_documents()[0].get_content() == b"my own"
    # The copy's contents are its own: what one removes, the other keeps; the same bytes are known again.
    copied = place.docex("copied").basket("papers")
    again = copied.add(place.file("again.txt", b"Dear all"))
    copied.delete_document(kept[0].id)
    assert again.get_content() == b"Dear all"
    copied.delete_document(again.id)
    assert read("acme-corp") == [b"Dear all", large]
    tenancy.archive.archive("copied", to=tmp_path / "archives")
    assert keys("copied") == []
    files, tenant = BucketContents(DocEXConfig().validate().storage.s3), tenancy.get("acme-corp")
    files.write(tenant, "content/ff/ffff", io.BytesIO(b"soon gone"))
    with files.open(tenant, "content/ff/ffff") as content:
        client.delete_object(Bucket=name, Key="acme-corp/live/content/ff/ffff")
        with pytest.raises(StoreError, match="removed while it was read"):
            content.read(1)
    tenancy.archive.rename("acme-corp", "new-corp")
    assert keys("acme-corp") == []
    assert read("new-corp") == [b"Dear all", large]
    assert place.docex("new-corp").basket("own").list_documents()[0].get_content() == b"my own"
    tenancy.archive.archive("new-corp", to=tmp_path / "archives")
    tenancy.archive.delete("new-corp", confirm="new-corp")
    assert keys("new-corp") == []
    with pytest.raises(StoreError, match=f"s3://{name}/copied/live/content/ab/abcd"):
        files.open(tenancy.get("copied"), "content/ab/abcd")


def test_what_a_killed_removal_left_in_a_place_is_removed_by_the_next(installation: Any, monkeypatch: Any) -> None:
    place = installation.setup()
    own = place.directory / "own"
    basket = place.docex(provision=True).create_basket("own", storage_config={"type": "filesystem", "path": str(own)})
    for number in range(4):
        basket.add(f"{number}".encode(), name=f"{number}.txt")
    files, tenant = OwnPlaces(DocEXConfig().validate()), configured().get("acme-corp")
    unlink, left = os.unlink, 8
    while left:
        steps = iter([True, False])

        def killed(path: Any, steps: Any = steps, **options: Any) -> None:
            if not next(steps):
                raise KeyboardInterrupt
            unlink(path, **options)

        monkeypatch.setattr(os, "unlink", killed)
        with contextlib.suppress(KeyboardInterrupt):
            files.remove(tenant)
        monkeypatch.undo()
        there = [path for path in own.rglob("*") if path.is_file()]
        contents = {path.stat().st_ino for path in there if "content" in path.parts}
        assert {path.stat().st_ino for path in there} == contents  # no path alone, which would stay for ever
        assert len(there) == left - 1
        left -= 1
    files.remove(tenant)
    assert not (own / "acme-corp").exists()
