"""The commands route, process, work and token: data on stdout, one line on stderr for a refusal, exit codes."""

from __future__ import annotations

import io
import json
import logging
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from docex.cli import main

if TYPE_CHECKING:
    from conftest import Installation


class Commands:
    """Runs commands in this process, as ``docex`` would."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as left:
            main([*arguments])
        out, self.err = self._capsys.readouterr()
        assert (left.value.code or 0) == code, self.err
        if code == 1:
            assert out == ""
            assert len(self.err.strip().splitlines()) == 1
            assert self.err.startswith("❌ Error: ")
        return out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--format", "json"))


@pytest.fixture
def docex(capsys: pytest.CaptureFixture[str]) -> Iterator[Commands]:
    # What a command does to its process must not outlast the test.
    loggers = {name: list(logging.getLogger(name).handlers) for name in ("docex", "tenantry")}
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield Commands(capsys)
    for name, handlers in loggers.items():
        logging.getLogger(name).handlers[:] = handlers
    for number, handler in signals.items():
        signal.signal(number, handler)


def test_route_commands(installation: Installation, docex: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    document = installation.setup().docex().basket("b").add(installation.file("a.csv", b"a\n1\n"))
    tenant = ("--tenant-id", "acme-corp")
    made = docex("route", "create", *tenant, "--name", "out", "--type", "local", "--config", '{"base_path": "out"}')
    assert made.startswith("rt_")
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"host": "h", "username": "u", "password": "geheim"}'))
    party = '{"id": "1", "name": "Globex", "type": "customer"}'
    docex("route", "create", *tenant, "--name", "sftp", "--type", "sftp", "--config", "-", "--disabled", "--no-list",
          "--delete", "--purpose", "archive", "--priority", "3", "--other-party", party)  # fmt: skip
    shown = docex("route", "get", *tenant, "--name", "sftp") + docex("route", "list", *tenant)
    assert "geheim" not in shown + repr(docex.json("route", "list", *tenant))
    [sftp, _] = docex.json("route", "list", *tenant)
    assert (sftp["allows"], sftp["enabled"], sftp["other_party_name"]) == ("upload, download, delete", False, "Globex")
    assert [route["name"] for route in docex.json("route", "list", *tenant, "--purpose", "archive")] == ["sftp"]
    assert [route["name"] for route in docex.json("route", "list", *tenant, "--type", "local")] == ["out"]

    sent = json.loads(docex("route", "send", *tenant, "--route", "out", "--document-id", document.id))
    assert sent["destination"] == "a.csv"
    docex("route", "send", *tenant, "--route", "sftp", "--document-id", document.id, code=1)
    assert "Route 'sftp' is disabled" in docex.err
    docex("route", "enable", *tenant, "--name", "sftp")
    docex("route", "disable", *tenant, "--name", "out")
    assert [route["enabled"] for route in docex.json("route", "list", *tenant)] == [True, False]
    docex("route", "enable", *tenant, "--name", "out")
    docex("route", "test", *tenant, "--name", "out")
    docex("route", "download", *tenant, "--route", "out", "--path", "a.csv", "--to", "back.csv")
    assert (installation.directory / "back.csv").read_bytes() == b"a\n1\n"
    assert [file["name"] for file in docex.json("route", "files", *tenant, "--route", "out")] == ["a.csv"]
    docex("route", "files", *tenant, "--route", "out", "--path", "../x", code=1)
    assert [row["type"] for row in docex.json("route", "operations", *tenant, "--route", "out", "--limit", "1")] == [
        "list"
    ]
    docex("route", "delete", *tenant, "--name", "out", "--confirm", "oops", code=2)
    docex("route", "delete", *tenant, "--name", "out", "--confirm", "out")
    for command in (["get", "--name", "out"], ["delete", "--name", "out", "--confirm", "out"]):
        docex("route", *command, *tenant, code=1)
        assert "Route 'out' not found" in docex.err
    for config, code in (("[]", 2), ("{", 2), ("{}", 1), ('{"base_path": "x", "typo": 1}', 1)):
        docex("route", "create", *tenant, "--name", "x", "--type", "local", "--config", config, code=code)


def test_process_commands(installation: Installation, docex: Commands) -> None:
    document = installation.setup().docex().basket("b").add(installation.file("a.csv", b"a;b\n1;2\n"))
    tenant = ("--tenant-id", "acme-corp")
    name = ("--name", "CSVToJSONProcessor")
    made = docex(
        "process", "register", *tenant, *name, "--config", '{"delimiter": ";"}', "--type", "t", "--description", "d"
    )
    assert made.startswith("prc_")
    docex("process", "register", *tenant, "--name", "Unknown", code=1)
    docex("process", "run", *tenant, "--document-id", document.id, "--name", "Unknown", code=1)
    [listed] = [row for row in docex.json("process", "list", *tenant) if row["name"] == "CSVToJSONProcessor"]
    assert (listed["type"], listed["enabled"], listed["description"]) == ("t", True, "d")
    assert json.loads(docex("process", "run", *tenant, "--document-id", document.id))["metadata"]["columns"] == [
        "a",
        "b",
    ]
    docex("process", "disable", *tenant, *name)
    docex("process", "run", *tenant, "--document-id", document.id, *name, code=1)
    docex("process", "enable", *tenant, *name)
    rule = docex("process", "rule-add", *tenant, *name, "--pattern", "*.csv", "--priority", "2").split("\t")[0]
    assert [row["id"] for row in docex.json("process", "rule-list", *tenant)] == [rule]
    docex("process", "rule-add", *tenant, *name, code=1)
    docex("work", *tenant, "--once")
    assert "1 run(s), 0 failure(s)" in docex.err
    docex("process", "rule-remove", *tenant, "--rule-id", rule)
    docex("process", "rule-remove", *tenant, "--rule-id", rule, code=1)
    docex("work", "--all-tenants", "--once")
    rows = docex.json("process", "operations", *tenant, "--document-id", document.id)
    assert [row["status"] for row in rows] == ["success", "success"]


def test_token_commands(installation: Installation, docex: Commands) -> None:
    installation.setup().docex()
    tenant = ("--tenant-id", "acme-corp")
    made = docex("token", "create", *tenant, "--name", "n", "--user", "u", "--role", "reader", "--days", "1")
    token_id, token = made.strip().split("\t")
    assert token.startswith("docex.acme-corp.")
    docex("token", "create", *tenant, "--name", "n", "--user", "u", "--role", "root", code=1)
    docex("token", "revoke", *tenant, "--token-id", token_id)
    docex("token", "revoke", *tenant, "--token-id", "tok_none", code=1)
    [listed] = docex.json("token", "list", *tenant)
    assert listed["revoked_at"] is not None
    assert token not in repr(listed)
