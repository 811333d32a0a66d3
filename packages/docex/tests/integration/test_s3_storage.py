"""Contents in S3: kept whole, read from any byte, apart by tenant, never with a credential in sight."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest

from docex.config.settings import S3Settings
from docex.errors import ConfigurationError, ContentMissing, KeyRejected, StorageError
from docex.storage.s3 import S3Storage, bucket_name

if TYPE_CHECKING:
    from conftest import Installation

BUCKET = "docex-tests"
LARGE = bytes(range(256)) * 80_000  # 20.5 MB: goes in two parts


@pytest.fixture
def s3(s3_url: str) -> Any:
    """Past DocEX, and a server without buckets."""
    httpx.post(f"{s3_url}/moto-api/reset")
    from docex.storage import s3 as module

    module._made.clear()
    return boto3.client(
        "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )


def configured(s3_url: str, **more: Any) -> dict[str, Any]:
    return {
        "bucket": BUCKET,
        "endpoint_url": s3_url,
        "access_key": "AKIATEST",
        "secret_key": "geheim-s3-4711",
        "path_namespace": "app",
        "prefix": "live",
        **more,
    }


def keys(s3: Any) -> list[str]:
    return sorted(entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()))


def test_documents_are_kept_in_the_bucket(anywhere: Installation, s3: Any, s3_url: str) -> None:
    anywhere.setup(storage={"type": "s3", "s3": configured(s3_url)})
    basket = anywhere.docex().basket("My Invoices!")
    assert s3.list_buckets()["Buckets"] == []  # nothing is connected to before it is needed
    small = basket.add(anywhere.file("a b.txt", b"small\r\n"), metadata={"year": 2024})
    large = basket.add(anywhere.file("large.bin", LARGE))

    assert basket.storage_type == "s3"
    assert small.get_content() == b"small\r\n"
    assert hashlib.sha256(large.get_content()).hexdigest() == hashlib.sha256(LARGE).hexdigest() == large.checksum
    with large.open(start=17_000_000) as file:
        assert file.read(1000) == LARGE[17_000_000:17_001_000]

    folder = f"acme-corp/app/live/My_Invoices_{basket.id[-4:]}"
    found = keys(s3)
    assert f"{folder}/a_b_{small.id[-6:]}.txt" in found
    assert f"{folder}/large_{large.id[-6:]}.bin" in found
    contents = [key for key in found if key.startswith("acme-corp/app/live/content/")]
    assert sorted(key[-64:] for key in contents) == sorted([small.checksum, large.checksum])
    assert len(found) == 4
    assert basket.get_basket_path() == f"s3://{BUCKET}/{folder}/"

    # The same bytes under another name are kept once; they go with the last document that has them.
    again = basket.add(anywhere.file("copy.bin", LARGE))
    assert len([key for key in keys(s3) if "/content/" in key]) == 2
    basket.delete_document(large.id)
    assert again.get_content() == LARGE
    basket.delete_document(again.id)
    basket.update_document(small.id, anywhere.file("new.txt", b"new"))
    assert small.get_content(version=1) == b"small\r\n"
    basket.delete()
    assert keys(s3) == []


def test_each_tenant_has_a_prefix_and_no_credential_is_shown(installation: Installation, s3: Any, s3_url: str) -> None:
    installation.setup(storage={"type": "s3", "s3": configured(s3_url)})
    installation.file("a.txt", b"same")
    baskets = [installation.docex(name).basket("b") for name in ("acme", "globex")]
    first, second = (basket.add("a.txt") for basket in baskets)
    assert {key.split("/")[0] for key in keys(s3)} == {"acme", "globex"}
    baskets[0].delete_document(first.id)
    assert second.get_content() == b"same"
    from docex import DocEX

    shown = repr(DocEX.get_config()) + repr(baskets[1].storage) + repr(baskets[1].storage_config)
    assert "geheim" not in shown
    assert baskets[1].storage_config["s3"]["bucket"] == BUCKET
    assert b"geheim" not in (installation.directory / "storage" / "tenant_acme" / "docex.db").read_bytes()


def test_an_address_can_be_given_away_for_a_while(installation: Installation, s3: Any, s3_url: str) -> None:
    installation.setup(storage={"type": "s3", "s3": configured(s3_url)})
    document = installation.docex().basket("b").add(installation.file("a.txt", b"for you"))
    assert httpx.get(document.get_url(expires_in=60)).content == b"for you"
    with pytest.raises(StorageError, match="1 to 604800 seconds"):
        document.get_url(expires_in=0)


def test_a_basket_may_have_a_bucket_of_its_own(installation: Installation, s3: Any, s3_url: str) -> None:
    installation.setup(storage={"s3": configured(s3_url)})  # new baskets lie in files
    docex = installation.docex()
    files = docex.basket("files")
    objects = docex.basket(
        "objects", storage_config={"type": "s3", "s3": {"bucket": "Our Own!", "server_side_encryption": "AES256"}}
    )
    assert (files.storage_type, objects.storage_type) == ("filesystem", "s3")
    document = objects.add(installation.file("a.txt", b"a"))
    found = s3.list_objects_v2(Bucket="our-own")["Contents"]
    assert {s3.head_object(Bucket="our-own", Key=entry["Key"])["ServerSideEncryption"] for entry in found} == {"AES256"}
    assert docex.get_basket(objects.id).get_document(document.id).get_content() == b"a"
    for wrong in (
        {"type": "s3", "s3": {"secret_key": "geheim"}},
        {"type": "s3", "s3": {"endpoint_url": "http://elsewhere"}},
        {"type": "s3", "path": "x"},
        {"type": "s3", "s3": {"server_side_encryption": "rot13"}},
        {"type": "tape"},
    ):
        with pytest.raises(ConfigurationError) as caught:
            docex.create_basket("wrong", storage_config=wrong)
        assert "geheim" not in str(caught.value)


def test_a_content_that_is_gone_is_told(installation: Installation, s3: Any, s3_url: str) -> None:
    installation.setup(storage={"type": "s3", "s3": configured(s3_url)})
    document = installation.docex().basket("b").add(installation.file("a.txt", b"a"))
    for key in keys(s3):
        s3.delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(ContentMissing):
        document.get_content()


def test_a_server_that_is_away_or_says_no_stores_nothing(
    installation: Installation, s3: Any, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.setup(storage={"type": "s3", "s3": configured("http://127.0.0.1:9", max_retries=1)})
    basket = installation.docex().basket("b")
    installation.file("a.txt", b"a")
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:9"):
        basket.add("a.txt")
    assert basket.count_documents() == 0
    assert basket.list_documents() == []


def test_a_reader_goes_on_where_the_connection_broke(s3: Any, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = S3Storage(S3Settings.model_validate(configured(s3_url, readable_copies=False)), "acme")
    with storage.receive(io.BytesIO(LARGE), "x") as staged:
        key = storage.content_key(staged.checksum, "")
        storage.publish([(staged, key)])
    opened = []
    read = storage.read

    def broken(key: str, start: int) -> Any:
        body = read(key, start)
        opened.append(start)
        if len(opened) == 1:
            whole = body.read
            body.read = lambda size: whole(size) if start == 0 and not body.tell() else b""
        return body

    monkeypatch.setattr(storage, "read", broken)
    with storage.open(key) as file:
        assert file.read() == LARGE
    assert len(opened) == 2
    assert storage.link(key, "b_1234/x.bin") is False
    assert [content.size for content in storage.contents()] == [len(LARGE)]


def test_parts_that_were_never_finished_are_swept(s3: Any, s3_url: str) -> None:
    storage = S3Storage(S3Settings.model_validate(configured(s3_url)), "acme")
    s3.create_bucket(Bucket=BUCKET)
    s3.create_multipart_upload(Bucket=BUCKET, Key=f"{storage.prefix}content/ab/x")
    s3.create_multipart_upload(Bucket=BUCKET, Key="globex/content/ab/x")
    assert storage.sweep(older_than=50 * 365 * 86400) == []  # this server says that everything began in 2010
    assert storage.sweep(older_than=3600) == [f"s3://{BUCKET}/acme/app/live/content/ab/x"]
    assert len(s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"]) == 1


@pytest.mark.parametrize("key", ["", "..", "a/../b", "/a", "a//b", ".hidden", "a\n", "ä"])
def test_keys_that_are_no_names_are_refused(s3_url: str, key: str) -> None:
    storage = S3Storage(S3Settings.model_validate(configured(s3_url)), "acme")
    for attempt in (storage.exists, storage.delete, storage.open):
        with pytest.raises(KeyRejected):
            attempt(key)


def test_bucket_names_are_made_as_s3_takes_them() -> None:
    assert bucket_name(S3Settings(bucket="My_Bucket")) == "my-bucket"
    assert bucket_name(S3Settings(bucket_application="Acme App")) == "acme-app-documents-bucket"
    assert len(bucket_name(S3Settings(bucket="x" * 100))) == 63
    for nothing in (S3Settings(), S3Settings(bucket="!!")):
        with pytest.raises(ConfigurationError, match="bucket"):
            bucket_name(nothing)


def test_the_storage_needs_no_directory_here(installation: Installation, s3: Any, s3_url: str) -> None:
    installation.setup(storage={"type": "s3", "s3": configured(s3_url)})
    installation.docex().basket("b").add(installation.file("a.txt", b"a"))
    assert not list(Path("storage").glob("docex/**/*.txt"))
