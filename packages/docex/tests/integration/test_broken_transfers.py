"""A connection that breaks half-way: it is tried again, later each time, and nothing half arrives on either side."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import httpx
import pytest

from docex import DocEX
from docex.errors import StorageError, TransportUnavailable

if TYPE_CHECKING:
    from conftest import Installation

CONTENT = b"line\r\n\x00\xff" * 150_000  # 1.2 MB
LARGE = b"part\r\n\x00\xff" * 2_200_000  # 17.6 MB: travels to S3 in two parts
HALF = 400_000  # bytes, after which the connection breaks
REPEATED = {"retry_count": 2, "retry_delay": 0.06, "timeout": 10}
KEYS = {"access_key": "AKIATEST", "secret_key": "geheim-s3-4711"}
BUCKET = "partner"
UP, DOWN = "up", "down"  # to the server, and from it
RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: no orderly end, what was not delivered is lost


@dataclass
class Wire:
    """Carries every connection to one server; each of ``cuts`` breaks the next that carries so much in a direction."""

    port: int
    cuts: list[tuple[str, int]] = field(default_factory=list)
    opened: list[float] = field(default_factory=list)  # when each connection was, in seconds


@contextmanager
def wire(host: str, port: int) -> Iterator[Wire]:
    """A wire to a server, taken down at the end."""
    listening = socket.create_server(("127.0.0.1", 0))
    carried = Wire(listening.getsockname()[1])
    ends: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:  # taken down
                return
            far = socket.create_connection((host, port))
            ends.extend((near, far))
            carried.opened.append(time.monotonic())
            for way, source, target in ((UP, near, far), (DOWN, far, near)):
                threading.Thread(target=_carry, args=(carried, way, source, target), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield carried
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(20)
        for end in ends:
            end.close()


def _carry(carried: Wire, way: str, source: socket.socket, target: socket.socket) -> None:
    sent = 0
    with suppress(OSError):  # the other direction broke it
        while data := source.recv(65536):
            limit = carried.cuts[0][1] if carried.cuts and carried.cuts[0][0] == way else None
            if limit is not None and sent + len(data) >= limit:
                carried.cuts.pop(0)
                target.sendall(data[: max(0, limit - sent)])
                for end in (source, target):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    end.shutdown(socket.SHUT_RDWR)
                    end.close()
                return
            target.sendall(data)
            sent += len(data)
        target.shutdown(socket.SHUT_WR)


class OtherSide:
    """A server behind a wire, with what it holds."""

    def __init__(self, kind: str, wire: Wire, config: dict[str, Any], s3: Any = None, http: Any = None) -> None:
        self.kind, self.wire, self.config = kind, wire, config
        self._s3, self._http = s3, http

    def put(self, content: bytes) -> None:
        if self._http is not None:
            self._http.files["a.bin"] = content
        else:
            self._s3.put_object(Bucket=BUCKET, Key="a.bin", Body=content)

    def held(self) -> dict[str, bytes]:
        if self._http is not None:
            return dict(self._http.files)
        found = self._s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())
        return {entry["Key"]: self._s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read() for entry in found}


@pytest.fixture
def s3(s3_url: str) -> Any:
    """Past the wire, and a server with one empty bucket."""
    httpx.post(f"{s3_url}/moto-api/reset")
    client = boto3.client(
        "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture(params=["http", "http-put", "s3"])
def other_side(request: pytest.FixtureRequest) -> Iterator[OtherSide]:
    if request.param == "s3":
        s3, url = request.getfixturevalue("s3"), urlsplit(request.getfixturevalue("s3_url"))
        with wire("127.0.0.1", url.port or 0) as carried:
            config = {"bucket": BUCKET, "region": "us-east-1", "endpoint_url": f"http://127.0.0.1:{carried.port}"}
            yield OtherSide("s3", carried, {**config, **KEYS, **REPEATED}, s3=s3)
        return
    server = request.getfixturevalue("http_server")
    with wire("127.0.0.1", urlsplit(server.url).port or 0) as carried:
        method = "PUT" if request.param == "http-put" else "POST"
        config = {"endpoint": f"http://127.0.0.1:{carried.port}/inbox", "method": method}
        yield OtherSide("http", carried, {**config, **REPEATED}, http=server)


@pytest.fixture
def docex(installation: Installation) -> DocEX:
    return installation.setup(security={}).docex(None)


def test_a_sending_that_breaks_half_way_is_tried_again_and_never_half_there(
    docex: DocEX, installation: Installation, other_side: OtherSide
) -> None:
    document = docex.basket("out").add(installation.file("a.bin", CONTENT))
    docex.create_route("partner", other_side.kind, other_side.config)
    other_side.put(b"the old one")

    other_side.wire.cuts = [(UP, HALF)] * 3
    failed = docex.send_document(document.id, "partner")
    assert isinstance(failed.error, TransportUnavailable), failed
    assert failed.details["attempts"] == 3
    first, second, third = other_side.wire.opened
    assert second - first >= 0.03  # half of the delay at least
    assert third - second >= 0.06  # and of twice the delay
    assert other_side.held() == {"a.bin": b"the old one"}
    assert document.get_details().status == "RECEIVED"
    [use] = docex.list_route_operations("partner")
    assert (use["status"], use["error"], use["details"]["attempts"]) == ("failed", failed.message, 3)
    assert "geheim" not in failed.message

    other_side.wire.cuts = [(UP, HALF), (DOWN, 1)]  # the second breaks when it is answered
    sent = docex.send_document(document.id, "partner")
    assert sent.success, sent.message
    assert sent.details["attempts"] == 3
    assert other_side.held() == {"a.bin": CONTENT}
    assert document.get_details().status == "SENT"
    assert [(use["status"], use["details"]["attempts"]) for use in docex.list_route_operations("partner")] == [
        ("success", 3),
        ("failed", 3),
    ]


def test_a_fetching_that_breaks_half_way_is_tried_again_and_never_half_here(
    docex: DocEX, other_side: OtherSide
) -> None:
    route = docex.create_route("partner", other_side.kind, other_side.config)
    other_side.put(CONTENT)
    target = Path("a.bin")
    target.write_bytes(b"the old one")

    other_side.wire.cuts = [(DOWN, HALF)] * 3
    failed = asyncio.run(route.download("a.bin", target))
    assert isinstance(failed.error, TransportUnavailable), failed
    assert failed.details["attempts"] == 3
    assert target.read_bytes() == b"the old one"
    assert not list(Path().glob(".*.part"))

    other_side.wire.cuts = [(DOWN, HALF)]
    fetched = asyncio.run(route.download("a.bin", target))
    assert fetched.success, fetched.message
    assert target.read_bytes() == CONTENT
    uses = [(use["type"], use["status"], use["details"]["attempts"]) for use in docex.list_route_operations("partner")]
    assert uses == [("download", "success", 2), ("download", "failed", 3)]


def test_parts_that_break_are_tried_again_and_leave_nothing(
    docex: DocEX, installation: Installation, s3: Any, s3_url: str
) -> None:
    document = docex.basket("out").add(installation.file("a.bin", LARGE))
    with wire("127.0.0.1", urlsplit(s3_url).port or 0) as carried:
        config = {"bucket": BUCKET, "region": "us-east-1", "endpoint_url": f"http://127.0.0.1:{carried.port}"}
        docex.create_route("partner", "s3", {**config, **KEYS, **REPEATED})
        carried.cuts = [(UP, HALF)]
        sent = docex.send_document(document.id, "partner")
    assert sent.success, sent.message
    assert sent.details["attempts"] == 2
    assert s3.get_object(Bucket=BUCKET, Key="a.bin")["Body"].read() == LARGE
    assert not s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads")


def test_a_storage_that_breaks_keeps_a_document_whole_or_not_at_all(
    installation: Installation, s3: Any, s3_url: str
) -> None:
    with wire("127.0.0.1", urlsplit(s3_url).port or 0) as carried:
        settings = {"bucket": BUCKET, "endpoint_url": f"http://127.0.0.1:{carried.port}", "max_retries": 1, **KEYS}
        installation.setup(storage={"type": "s3", "s3": settings})
        basket = installation.docex().basket("b")
        installation.file("a.bin", CONTENT)
        carried.cuts = [(UP, HALF)] * 2
        with pytest.raises(StorageError, match="s3:"):
            basket.add("a.bin")
        assert (basket.count_documents(), basket.get_totals()) == (0, (0, 0))
        assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)

        carried.cuts = [(UP, HALF)]
        document = basket.add("a.bin")
        assert document.get_content() == CONTENT
        assert basket.count_documents() == 1
