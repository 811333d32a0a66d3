"""Contents kept once, versions, searches, cursors, quotas, the outbox, waiting operations, roles and fsck: on both
databases.
"""

from __future__ import annotations

import io
import os
import resource
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from docex import DocEX, UserContext, directories
from docex.docbasket import DocBasket
from docex.errors import (
    AccessDenied,
    BasketError,
    BasketInactive,
    DocumentNotFound,
    DocumentRejected,
    MetadataRejected,
    OperationRejected,
    QueryRejected,
    QuotaExceeded,
    TenantRequired,
)
from docex.models.tables import EventRow, now
from docex.services import content_service
from docex.services.event_service import Event


@pytest.fixture
def anywhere(prepared: Any) -> Any:
    """Most of a test would otherwise go into making its registry."""
    return prepared


@pytest.fixture
def docex(anywhere: Any) -> Iterator[DocEX]:
    anywhere.setup()
    context = UserContext("alice", "alice@acme-corp.com", "acme-corp", ["admin"], {"desk": 7, "since": now()})
    with DocEX(context) as opened:
        yield opened


@pytest.fixture
def basket(docex: DocEX) -> DocBasket:
    return docex.create_basket("invoices")


def contents(basket: DocBasket) -> list[str]:
    return sorted(content.key.rpartition("/")[2] for content in basket.storage.contents())


def names(documents: Any) -> list[str]:
    return [document.name for document in documents]


def together(count: int, work: Any) -> list[BaseException]:
    """Run the work in threads at once; returns what they raised."""
    raised: list[BaseException] = []
    start = threading.Barrier(count)

    def one(number: int) -> None:
        start.wait()
        try:
            work(number)
        except (QuotaExceeded, DocumentNotFound) as error:
            raised.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_one_content_is_kept_once_until_its_last_holder_goes(docex: DocEX, basket: DocBasket) -> None:
    other = docex.create_basket("other")
    first = basket.add(b"same", name="a.txt")
    second = other.add(io.BytesIO(b"same"), name="b.txt")
    assert first.id != second.id
    assert contents(basket) == [first.checksum]
    assert docex.get_usage().bytes == 8
    changed = basket.update_document(first.id, b"changed", name="a.txt")
    assert sorted(contents(basket)) == sorted({first.checksum, changed.checksum})
    assert (changed.get_content(), changed.get_content(version=1)) == (b"changed", b"same")
    with pytest.raises(ValueError, match="versions 1 to 2, not 3"):
        changed.get_content(version=3)
    other.delete()
    assert changed.get_content(version=1) == b"same"
    basket.delete_document(first.id)
    assert contents(basket) == []
    assert (docex.get_usage().documents, docex.get_usage().bytes) == (0, 0)
    assert docex.fsck(older_than=0).findings == []


def test_adds_and_removals_of_one_content_at_once_keep_every_document_whole(docex: DocEX, basket: DocBasket) -> None:
    def work(number: int) -> None:
        for turn in range(6):
            document = basket.add(b"contested", name=f"{number}.txt")
            assert document.get_content() == b"contested"
            if turn < 5:
                basket.delete_document(document.id)

    assert together(4, work) == []
    assert basket.count_documents() == 4
    assert {document.get_content() for document in basket.list_documents()} == {b"contested"}
    assert len(contents(basket)) == 1
    assert docex.fsck(older_than=0).findings == []


def test_a_content_whose_last_holder_goes_while_it_is_added_is_stored_again(installation: Any) -> None:
    basket = installation.setup().docex().create_basket("b")
    holder, document = basket.add(b"same", name="first.txt"), basket.add(b"other", name="third.txt")
    link, storage = basket.storage.link, basket.storage

    def too_late(key: str, readable: str) -> bool:
        storage.link = link  # type: ignore[method-assign]
        basket.delete_document(holder.id)
        return link(key, readable)

    storage.link = too_late  # type: ignore[method-assign]
    holder = basket.add(b"same", name="second.txt")
    assert holder.get_content() == b"same"
    storage.link = too_late  # type: ignore[method-assign]
    basket.update_document(document.id, b"same", name="third.txt")
    assert document.get_content() == b"same"
    assert basket.count_documents() == 1


def test_two_at_once_may_remove_a_content_that_nobody_holds(basket: DocBasket) -> None:
    storage = basket.storage
    checksum = basket.add(b"same", name="a.txt").checksum
    delete, begun = storage.delete, threading.Event()

    def slowly(key: str) -> None:
        begun.set()
        time.sleep(0.3)
        delete(key)

    storage.delete = slowly  # type: ignore[method-assign]
    with basket._db.session(write=True) as session:
        content_service.release(session.connection(), {(storage.place, checksum): 1})
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(content_service.reap, basket._db, storage, [checksum])
        assert begun.wait(10)
        second = pool.submit(content_service.reap, basket._db, storage, [checksum])
        assert first.result(10) == 1
        second.result(10)
    assert list(storage.contents()) == []


def test_a_large_file_is_streamed(basket: DocBasket, tmp_path: Path) -> None:
    """64 MiB go in and out while the memory of this process grows by a few of them."""
    path, part = tmp_path / "large.txt", b"needle " + b"x" * (1024 * 1024 - 8) + b"\n"
    with path.open("wb") as file:
        for _ in range(64):
            file.write(part)
    basket.add(b"warm", name="warm.txt")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    document = basket.add(path)
    with document.open(start=len(part) * 63) as file:
        assert file.read() == part
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 24 * 1024  # kilobytes
    assert document.size == 64 * len(part)
    assert [hit.document.id for hit in basket.search("needle")] == [document.id]


def test_a_directory_is_added_in_batches_and_again(basket: DocBasket, anywhere: Any) -> None:
    root = anywhere.directory / "in"
    (root / "deep").mkdir(parents=True)
    for number in range(270):
        (root / ("deep" if number % 2 else ".") / f"{number}.txt").write_text(f"text {number % 200}")
    os.mkfifo(root / "pipe")
    (root / "out").symlink_to("/etc/passwd")
    seen: list[tuple[int, int]] = []
    report = basket.add_directory(root, "letter", {"batch": 1}, progress=lambda done, total: seen.append((done, total)))
    assert (len(report.added), len(report.duplicates)) == (270, 0)
    assert sorted(Path(path).name for path, _ in report.refused) == ["out", "pipe"]
    assert seen[-1] == (272, 272)
    assert len(contents(basket)) == 200
    assert basket.count_documents(document_type="letter") == basket.count_documents_by_metadata({"batch": 1}) == 270
    assert basket.search("text")[0].document.get_content("text").startswith("text")
    again = basket.add_directory(root)
    assert (len(again.added), len(again.duplicates)) == (0, 270)
    assert names(basket.add_directory(root / "deep", pattern="1[0-9].txt").duplicates) == [
        "11.txt", "13.txt", "15.txt", "17.txt", "19.txt"
    ]  # fmt: skip
    with pytest.raises(DocumentRejected, match="no such directory"):
        basket.add_directory(anywhere.directory / "nothing")


def test_of_a_directory_as_many_files_are_added_as_fit(
    docex: DocEX, basket: DocBasket, anywhere: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch behind the one that does not fit is stored already then, and leaves nothing either."""
    monkeypatch.setattr(directories, "FILES", 3)
    root = anywhere.directory / "in"
    root.mkdir()
    for number in range(12):
        (root / f"{number:02}.bin").write_bytes(b"\0%d" % (number % 10))
    docex.set_quota(max_documents=5)
    with pytest.raises(QuotaExceeded):
        basket.add_directory(root)
    assert names(basket.list_documents(order_by="name")) == [f"{number:02}.bin" for number in range(5)]
    assert docex.fsck(older_than=0).findings == []
    docex.set_quota()
    report = basket.add_directory(root)
    assert (len(report.added), len(report.duplicates)) == (7, 5)
    assert docex.fsck(older_than=0, verify=True).findings == []


def test_bad_values_leave_nothing(docex: DocEX, basket: DocBasket) -> None:
    with pytest.raises(MetadataRejected, match=r"10485762 characters of JSON; at most 1048576"):
        basket.add(b"x", name="a.txt", metadata={"huge": "x" * 10 * 1024 * 1024})
    with pytest.raises(DocumentRejected, match="binary mode"):
        basket.add(io.StringIO("text"), name="a.txt")  # type: ignore[arg-type]
    for odd in ("../../etc/passwd", "a\0b", "/", "..", "CON", "a" * 5000, "né\ud800"):
        document = basket.add(odd.encode("utf-8", "replace"), name=odd)
        assert "/" not in document.name
        assert len(document.name) <= 120
    assert docex.fsck(older_than=0, verify=True).findings == []
    assert basket.count_documents() == 7


def test_metadata_is_compared_by_type_range_and_prefix(basket: DocBasket) -> None:
    values: list[Any] = [3, 10, 2.5, "10", "abc", "abd", "a", True, None, {"x": 1}, "é", 10**400]
    for number, value in enumerate(values):
        basket.add(b"%d" % number, name=f"{number:02}.txt", metadata={"v": value})

    def found(*conditions: Any) -> list[Any]:
        documents = basket.find_documents_where([("v", *c) for c in conditions], order_by="name")
        return [values[int(document.name[:2])] for document in documents]

    assert found((">", 2.5)) == [3, 10, 10**400]
    assert found((">=", 2.5), ("<", 10)) == [3, 2.5]
    assert found(("=", 10)) == [10]
    assert found(("=", "10")) == ["10"]
    assert found(("=", True)) == [True]
    assert found(("prefix", "ab")) == ["abc", "abd"]
    assert found((">", "abc")) == ["abd", "é"]
    assert len(found(("!=", 10))) == len(values) - 1
    assert len(found(("exists", True))) == len(values)
    assert basket.find_documents_where([("w", "exists", False)], limit=3, order_by="name")[2].name == "02.txt"
    for condition in (("v", "~", 1), ("v", "<", None), ("v", "prefix", ""), ("v", "prefix", 3)):
        with pytest.raises(QueryRejected):
            basket.find_documents_where([condition])
    document = basket.list_documents(1, order_by="name")[0]
    document.update_metadata({"v": 99, "w": 1})
    assert found((">", 10)) == [3, 10**400]  # the document's name says 00, so its first value is shown
    assert document.delete_metadata(["v", "nothing"]) == 1
    assert document.get_metadata() == {"original_filename": "00.txt", "w": 1}


def test_texts_are_searched_ranked_and_forgotten(docex: DocEX, basket: DocBasket) -> None:
    other = docex.create_basket("other")
    often = basket.add("Zahlung Zahlung Zahlung überfällig".encode(), name="often.txt")
    once = basket.add(b"one Zahlung among many other words that stand in this text", name="once.txt")
    elsewhere = other.add(b"Zahlung elsewhere", name="else.txt")
    assert [hit.document.id for hit in basket.search("zahlung")] == [often.id, once.id]
    assert {hit.document.id for hit in docex.search("ZAHL*")} == {often.id, once.id, elsewhere.id}
    assert [hit.document.id for hit in basket.search('"among many" zahlung')] == [once.id]
    assert [hit.document.id for hit in basket.search("zahlung -among")] == [often.id]
    assert "[Zahlung]" in basket.search("zahlung")[1].snippet
    assert basket.search("zahlung", limit=1, offset=1)[0].document.id == once.id
    for hostile in ("' OR 1=1 --", 'a"b', "a:b & | !", "NEAR(a b)", "body:x", "*", "x'); DROP TABLE document;"):
        try:
            basket.search(hostile)
        except QueryRejected as error:
            assert "must occur" in str(error)  # noqa: PT017
    with pytest.raises(QueryRejected, match="must occur"):
        basket.search("-zahlung")

    basket.update_document(often.id, b"paid at last", name="often.txt")
    assert [hit.document.id for hit in basket.search("zahlung")] == [once.id]
    assert [hit.document.id for hit in basket.search("paid")] == [often.id]
    scan = basket.add(b"%PDF-1.7 \0\0", name="scan.pdf")
    basket.documents.set_extracted_text(scan.id, "extracted Zahlung")
    basket.documents.set_extracted_text(scan.id, "extracted again Zahlung")
    assert [hit.document.id for hit in basket.search("extracted")] == [scan.id]
    basket.delete_document(scan.id)
    basket.delete_document(once.id)
    assert basket.search("zahlung") == []


def test_pages_follow_each_other_while_documents_come_and_go(basket: DocBasket) -> None:
    made = [basket.add(b"%d" % n, name=f"{n % 3}.txt") for n in range(9)]
    for order_by, order_desc in (("created_at", True), ("name", False), ("size", True)):
        seen, after = [], None
        while True:
            page = basket.page_documents(4, after, order_by, order_desc)
            seen += [document.id for document in page.documents]
            after = page.next
            if after is None:
                break
        assert sorted(seen) == sorted(document.id for document in made)
    first = basket.page_documents(4, order_by="created_at")
    basket.add(b"newer", name="newer.txt")
    basket.delete_document(first.documents[0].id)
    second = basket.page_documents(4, first.next)
    assert [document.id for document in second.documents] == [document.id for document in made[1:5]][::-1]
    for wrong in ("nonsense", first.next + "x" if first.next else "", "e30"):
        with pytest.raises(QueryRejected):
            basket.page_documents(4, wrong)
    with pytest.raises(QueryRejected, match="another order"):
        basket.page_documents(4, first.next, "name", False)
    rows = basket.list_documents_with_metadata(["name", "created_at"], {"name": "newer.txt"})
    assert [row["name"] for row in rows] == ["newer.txt"]
    assert isinstance(rows[0]["created_at"], str)
    newest = basket.find_documents_by_metadata_with_metadata({"original_filename": "newer.txt"}, ["id", "size"])
    assert [row["size"] for row in newest] == [5]
    with pytest.raises(ValueError, match="none of the columns"):
        basket.list_documents_with_metadata(["nothing"])


def test_a_quota_is_exact_whoever_comes_at_once(docex: DocEX, basket: DocBasket) -> None:
    kept = basket.add(b"12345", name="kept.txt")
    docex.set_quota(max_documents=6, max_bytes=1000)
    raised = together(10, lambda number: basket.add(b"%d" % number, name=f"{number}.txt"))
    assert len(raised) == 5
    assert basket.count_documents() == docex.get_usage().documents == 6
    docex.set_quota(max_bytes=11)
    with pytest.raises(QuotaExceeded, match="10 bytes and this needs 2 more, and may hold at most 11"):
        basket.update_document(kept.id, b"12", name="kept.txt")
    assert kept.get_content() == b"12345"
    assert docex.fsck(older_than=0).findings == []
    with pytest.raises(ValueError, match="must not be negative"):
        docex.set_quota(max_bytes=-1)
    assert docex.set_quota().max_bytes is None


def test_events_are_claimed_once_and_again_when_a_lease_ends(docex: DocEX, basket: DocBasket) -> None:
    for number in range(12):
        basket.add(b"%d" % number, name=f"{number}.txt")
    claimed: list[Event] = []
    assert together(4, lambda number: claimed.extend(docex.events.claim(f"worker-{number}", limit=3))) == []
    assert len({event.id for event in claimed}) == len(claimed) == 12
    assert docex.events.claim("late") == []
    docex.events.done(claimed[0])
    docex.events.failed(claimed[1], "no such processor")
    docex.events.failed(claimed[2], "try again", retry=True)
    assert [event.id for event in docex.events.claim("late", lease=0)] == [claimed[2].id]
    for _ in range(3):  # a worker that dies every time
        assert len(docex.events.claim("dying", lease=0, basket_id=basket.id)) == 1
    assert docex.events.claim("dying") == []
    with docex.db.session() as session:
        statuses = {row.id: row.status for row in session.execute(sa.select(EventRow.id, EventRow.status))}
    assert (statuses[claimed[0].id], statuses[claimed[1].id], statuses[claimed[2].id]) == (
        "PROCESSED", "FAILED", "FAILED"
    )  # fmt: skip
    assert docex.events.publish(basket.id, "MINE", data={"n": 1}, idempotency_key="once")
    assert not docex.events.publish(basket.id, "MINE", data={"n": 2}, idempotency_key="once")
    (mine,) = docex.events.claim("me", types=["MINE"])
    assert (mine.data, mine.attempts) == ({"n": 1}, 1)
    assert len(docex.events.get_pending_events(basket.id, batch_size=4)) == 4


def test_operations_wait_for_each_other(docex: DocEX, basket: DocBasket) -> None:
    document = basket.add(b"x", name="a.txt")
    operations = docex.operations
    scan = operations.plan(document.id, "scan", {"pages": 2})
    read = operations.plan(document.id, "read", depends_on=[scan])
    send = operations.plan(document.id, "send", depends_on=[read, scan])
    with pytest.raises(OperationRejected, match="circle"):
        operations.add_dependency(scan, send)
    with pytest.raises(OperationRejected, match="itself"):
        operations.add_dependency(scan, scan)
    with pytest.raises(OperationRejected, match="not there"):
        operations.add_dependency(scan, "ope_nothing")
    operations.add_dependency(read, scan)
    assert operations.dependencies(send) == [read, scan]
    order: list[str] = []

    def note(operation: Any) -> dict[str, Any]:
        order.append(operation.operation_type)
        return {"done_by": "me"}

    assert operations.run({"send": note, "read": note}) == 0
    assert operations.run({"send": note, "scan": note, "read": note}) == 3
    assert order == ["scan", "read", "send"]
    log = {row["type"]: row for row in document.get_operations()}
    assert log["scan"]["details"] == {"pages": 2, "done_by": "me"}

    broken = operations.plan(document.id, "broken")
    last = operations.plan(document.id, "send", depends_on=[operations.plan(document.id, "read", depends_on=[broken])])

    def fail(_: Any) -> None:
        raise RuntimeError("scanner on fire")

    assert operations.run({"broken": fail, "send": note, "read": note}) == 1
    failed = [row["error"] for row in document.get_operations() if row["status"] == "failed"]
    assert failed == ["RuntimeError: scanner on fire", *["an operation that it depends on failed"] * 2]
    assert last


def test_roles_are_checked_once_they_are_enforced(anywhere: Any) -> None:
    anywhere.setup(security={"multi_tenancy_model": "database_level", "enforce_user_context": True})

    def as_user(*roles: str) -> DocEX:
        return DocEX(UserContext(roles[0] if roles else "nobody", tenant_id="acme-corp", roles=list(roles)))

    basket = as_user("admin").create_basket("invoices")
    document = as_user("editor").basket("invoices").add(b"x", name="a.txt")
    reader = as_user("reader").get_basket(basket.id)
    assert reader is not None
    assert reader.get_document(document.id).get_content() == b"x"  # type: ignore[union-attr]
    for attempt in (
        lambda: reader.add(b"y", name="b.txt"),
        lambda: reader.delete_document(document.id),
        lambda: reader.update_document(document.id, b"y", name="b.txt"),
        lambda: reader.get_document(document.id).update_metadata({"a": 1}),  # type: ignore[union-attr]
        lambda: as_user("reader").create_basket("other"),
        lambda: as_user("editor").get_basket(basket.id).delete(),  # type: ignore[union-attr]
        lambda: as_user("editor").set_quota(1),
        lambda: as_user("editor").fsck(),
        lambda: as_user("reader").events.claim("me"),
        lambda: as_user().list_baskets(),
        lambda: as_user("boss").list_baskets(),
    ):
        with pytest.raises(AccessDenied, match="it needs the role"):
            attempt()
    assert basket.count_documents() == 1
    basket.delete()


def test_every_change_names_its_user_and_outlives_what_it_changed(docex: DocEX, basket: DocBasket) -> None:
    document = basket.add(b"x", name="a.txt")
    document.set_status("PROCESSED")
    document.update_metadata({"k": 1})
    basket.update_document(document.id, b"y", name="a.txt")
    assert document.get_details()["updated_by"] == document.model.created_by == "alice"
    assert [version["user_id"] for version in document.get_versions()] == ["alice", "alice"]
    made = document.create_operation("CHECK", "success", {"by": "eye"})
    assert (made.operation_type, document.get_operations()[-1]["details"]) == ("CHECK", {"by": "eye"})
    document.remove_from_basket()
    basket.set_status("inactive")
    with pytest.raises(BasketInactive):
        basket.add(b"z", name="z.txt")
    with pytest.raises(BasketError, match="active or inactive"):
        basket.set_status("asleep")
    basket.delete()
    trail = docex.audit_trail.list()
    assert [row["action"] for row in trail][::-1] == [
        "basket.create", "document.add", "document.status", "metadata.update", "document.update",
        "document.delete", "basket.update", "basket.delete",
    ]  # fmt: skip
    assert {(row["user_id"], row["user_email"]) for row in trail} == {("alice", "alice@acme-corp.com")}
    assert trail[0]["attributes"]["desk"] == 7
    assert [row["action"] for row in docex.audit_trail.list(document_id=document.id, limit=1)] == ["document.delete"]


def test_fsck_finds_and_mends_orphans_both_ways(docex: DocEX, basket: DocBasket, anywhere: Any) -> None:
    # Not texts, which their rows could give back.
    documents = [basket.add(b"content %d" % n, name=f"{n}.bin") for n in range(4)]
    root = Path(basket.get_basket_path()).parent
    blobs = [root / "content" / d.checksum[:2] / d.checksum for d in documents]
    assert docex.fsck(older_than=0, verify=True).findings == []

    def kinds(**options: Any) -> list[tuple[str, bool]]:
        return sorted((f.kind, f.mended) for f in docex.fsck(older_than=0, **options).findings)

    blobs[0].unlink()  # a readable path still has it
    blobs[1].write_bytes(b"CONTENT 1")  # the readable path is the same file
    (root / "content" / ".incoming-1").write_bytes(b"half")
    (root / "content" / "aa").mkdir(exist_ok=True)
    (root / "content" / "aa" / ("aa" * 32)).write_bytes(b"stray")
    (Path(basket.get_basket_path()) / "stray.txt").write_bytes(b"stray")
    (Path(basket.get_basket_path()) / documents[2].path).unlink()
    anywhere.query("UPDATE content SET refs = 5 WHERE checksum = :c", c=documents[3].checksum)
    anywhere.query("UPDATE usage SET documents = 99")
    expected = [
        "damaged content",
        "missing content",
        "missing path",
        "stray content",
        "stray path",
        *["wrong count"] * 2,
    ]
    assert kinds(verify=True) == [(kind, False) for kind in expected]
    assert kinds(verify=True, mend=True) == sorted(
        [(kind, kind != "damaged content") for kind in expected] + [("leftover", True)]
    )
    assert kinds(verify=True) == [("damaged content", False)]
    assert documents[0].get_content() == b"content 0"
    assert docex.get_usage().documents == 4
    blobs[1].unlink()
    (Path(basket.get_basket_path()) / documents[1].path).unlink()
    assert kinds(mend=True) == [("missing content", False)]
    basket.update_document(documents[1].id, b"content 1", name="1.bin")  # from where it came
    assert kinds() == [("missing path", False)]
    assert kinds(mend=True) == [("missing path", True)]
    assert documents[1].get_content(version=1) == b"content 1"


def test_a_young_stray_may_be_work_under_way(docex: DocEX, basket: DocBasket) -> None:
    with basket.storage.receive(io.BytesIO(b"x"), "x") as staged:
        basket.storage.publish([(staged, basket.storage.content_key(staged.checksum, ""))])
    assert docex.fsck(mend=True).findings == []
    assert len(contents(basket)) == 1
    time.sleep(0.02)
    assert docex.fsck(mend=True, older_than=timedelta(milliseconds=10).total_seconds()).clean
    assert contents(basket) == []


def test_baskets_by_the_class_methods_of_older_scripts(docex: DocEX) -> None:
    made = DocBasket.create("My Invoices!", "what came in", db=docex.db)
    assert made.name == "My_Invoices"
    for found in (DocBasket.get(made.id, docex.db), DocBasket.find_by_name("My Invoices!", docex.db)):
        assert found is not None
        assert found.add(b"x", name="a.txt").get_content() == b"x"
    assert DocBasket.get("bas_nothing", docex.db) is DocBasket.find_by_name("nothing", docex.db) is None
    assert names(made.list()) == ["a.txt"]
    with pytest.raises(TenantRequired):
        DocBasket.find_by_name("My Invoices!")
