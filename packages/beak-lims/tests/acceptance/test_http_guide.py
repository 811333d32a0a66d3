"""The platform section of the guide, by curl and word for word, against `beak-lims server run`."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import BIN, Shell

GUIDE = Path(__file__).with_name("data") / "guide.md"
ROUTES = [
    ("POST", "/api/v1/platform/auth/login"),
    ("GET", "/api/v1/platform/auth/me"),
    ("POST", "/api/v1/platform/tenants"),
    ("GET", "/api/v1/platform/tenants"),
    ("POST", "/api/v1/platform/tenants/{slug}/migrate"),
    ("POST", "/api/v1/platform/tenants/{slug}/activate"),
    ("POST", "/api/v1/platform/tenants/{slug}/laboratories"),
    ("DELETE", "/api/v1/platform/tenants/failed"),
]


class Curl:
    """curl, at one server."""

    def __init__(self, shell: Shell, port: int) -> None:
        self.shell = shell
        self.origin = f"http://127.0.0.1:{port}"
        self.token = ""

    def __call__(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        given = f"--header 'Content-Type: application/json' --data '{json.dumps(body)}'" if body is not None else ""
        said = self.shell.ok(
            f"curl --silent --show-error --request {method} {given} --header 'Authorization: Bearer {self.token}'"
            f" --write-out '\\n%{{http_code}}' '{self.origin}{path}'"
        )
        text, _, status = said.rpartition("\n")
        return int(status), json.loads(text)


@pytest.fixture
def curl(embedded_shell: Shell) -> Iterator[Curl]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    embedded_shell.ok("beak-lims db upgrade")
    with (embedded_shell.directory / "log").open("wb") as log:
        server = subprocess.Popen(
            [str(BIN / "beak-lims"), "server", "run", "--port", str(port)],
            cwd=embedded_shell.directory,
            env=embedded_shell.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    curl = Curl(embedded_shell, port)
    try:
        deadline = time.monotonic() + 60
        while embedded_shell(f"curl --silent --fail {curl.origin}/api/v1/platform/health/ready").returncode:
            assert server.poll() is None, (embedded_shell.directory / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield curl
    finally:
        server.terminate()
        server.wait(60)


def test_the_routes_are_those_of_the_guide() -> None:
    assert re.findall(r"^- `(GET|POST|DELETE) (/\S+)`$", GUIDE.read_text(), re.MULTILINE) == ROUTES


def test_the_platform_section_works_by_curl_as_the_commands_do(curl: Curl) -> None:
    shell = curl.shell
    seeded = shell.ok("beak-lims seed platform-superuser")
    password = seeded.split("Password: ")[1].split()[0]
    status, granted = curl("POST", ROUTES[0][1], {"identifier": "administrator@localhost", "password": password})
    assert status == 200
    assert granted["token_type"] == "bearer"
    assert granted["user"]["roles"] == ["administrator"]
    assert not {"hashed_password", "password"} & set(granted["user"])
    curl.token = granted["access_token"]

    assert curl("GET", ROUTES[1][1]) == (200, granted["user"])

    body = {
        "name": "Ultralytics Damegio",
        "slug": "ultral12",
        "admin_email": "ultralytics@gmail.com",
        "initial_lab_name": "Dato Laboratory 1",
    }
    status, made = curl("POST", ROUTES[2][1], body)
    assert status == 201
    assert (made["name"], made["slug"], made["schema_name"], made["status"]) == (
        "Ultralytics Damegio",
        "ultral12",
        "org_ultral12",
        "active",
    )
    assert made["receipts"]["Administrator"] == "ultralytics@gmail.com"

    for wanted, slugs in (("all", ["ultral12"]), ("active", ["ultral12"]), ("provisioning", []), ("failed", [])):
        status, listed = curl("GET", f"{ROUTES[3][1]}?status={wanted}")
        assert (status, [row["slug"] for row in listed]) == (200, slugs)
    assert set(listed[0] if listed else made) >= {"uid", "name", "slug", "schema_name", "status"}

    status, migrated = curl("POST", ROUTES[4][1].format(slug="ultral12"))
    assert (status, migrated["status"]) == (200, "active")
    status, activated = curl("POST", ROUTES[5][1].format(slug="ultral12"))
    assert (status, activated["skipped"]) == (200, [])
    status, activated = curl("POST", ROUTES[5][1].format(slug="ultral12") + "?force=true")
    assert (status, len(activated["skipped"])) == (200, 2)

    laboratories = ROUTES[6][1].format(slug="ultral12")
    status, added = curl("POST", laboratories, {"name": "Dato Laboratory 2"})
    assert status == 200
    assert set(added) == {
        "tenant_slug",
        "schema_name",
        "organization_uid",
        "laboratory_uid",
        "laboratory_name",
        "created",
    }
    assert (added["schema_name"], added["laboratory_name"], added["created"]) == (
        "org_ultral12",
        "Dato Laboratory 2",
        True,
    )
    status, again = curl("POST", laboratories, {"name": "Dato Laboratory 2", "setup_name": "beak"})
    assert (status, again) == (200, {**added, "created": False})

    assert curl("DELETE", f"{ROUTES[7][1]}?drop_schema=true") == (200, [])

    # Troubleshooting: the guide's texts.
    status, missing = curl("POST", ROUTES[4][1].format(slug="none"))
    assert (status, missing["detail"].startswith("Tenant slug 'none' not found")) == (404, True)
    status, missing = curl("POST", laboratories, {"name": "X", "setup_name": "other"})
    assert status == 404
    assert missing["detail"] == "Organization with setup_name='other' not found in tenant 'ultral12'"
    status, refused = curl("POST", ROUTES[2][1], {**body, "slug": "Ultral 13"})
    assert (status, refused["detail"].endswith("Slug must match ^[a-z][a-z0-9_]{0,62}$")) == (400, True)

    curl.token = ""
    status, refused = curl("GET", ROUTES[3][1])
    assert (status, refused["detail"]) == (401, "Invalid platform authentication token")
    status, refused = curl("POST", ROUTES[0][1], {"identifier": "administrator@localhost", "password": "wrong"})
    assert (status, refused["detail"]) == (401, "Invalid platform credentials")

    # What was done over HTTP and at the command line is one platform and one trail.
    assert shell.ok("beak-lims tenant list").startswith("ultral12\torg_ultral12\tactive")
    exported = [json.loads(line) for line in shell.ok("beak-lims audit export").splitlines()]
    done = {(line["action"], line["slug"], line["outcome"]) for line in exported if line["origin"] == "127.0.0.1"}
    assert done >= {
        ("tenant.provision", "ultral12", "done"),
        ("tenant.migrate", "ultral12", "done"),
        ("tenant.activate", "ultral12", "done"),
        ("laboratory.add", "ultral12", "done"),
        ("tenant.migrate", "none", "refused"),
        ("laboratory.add", "ultral12", "refused"),
    }
    shell.ok("beak-lims audit verify")
