"""Names of baskets and files, and tenant ids."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docex.config.settings import DatabaseSettings, Settings
from docex.errors import DocexError, InvalidTenantIdError
from docex.names import LONGEST_NAME, sanitise, sanitise_suffix
from docex.tenancy import _declare, slug_rule
from tenantry.errors import NameRejected


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        ("My Invoices!", "My_Invoices"),
        ("a  b__c", "a_b_c"),
        ("..hidden..", "hidden"),
        ("../../etc/passwd", "etc_passwd"),
        ("v1.2-final", "v1.2-final"),
        ("日本", "unnamed"),
        ("", "unnamed"),
        ("x" * 100, "x" * 80),
        ("x" * 79 + " y", "x" * 79),
    ],
)
def test_names_are_sanitised(given_: str, kept: str) -> None:
    assert sanitise(given_) == kept


@settings(deadline=None, max_examples=60)
@given(st.text())
def test_sanitised_names_are_safe_and_stay_as_they_are(text: str) -> None:
    name = sanitise(text)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", name)
    assert not name.startswith((".", "_"))
    assert len(name) <= LONGEST_NAME
    assert sanitise(name) == name


@settings(deadline=None, max_examples=60)
@given(st.text())
def test_suffixes_are_safe(text: str) -> None:
    suffix = sanitise_suffix(text)
    assert re.fullmatch(r"(\.[A-Za-z0-9-][A-Za-z0-9_.-]*)?", suffix)
    assert sanitise_suffix(suffix) == suffix


def test_ordinary_suffixes_are_kept() -> None:
    assert [sanitise_suffix(s) for s in (".pdf", ".PDF", ".7z", "", ".", ".a b")] == [
        ".pdf",
        ".PDF",
        ".7z",
        "",
        "",
        ".a_b",
    ]


@pytest.mark.parametrize("tenant_id", ["acme-corp", "customer-123", "ACME_2", "a", "0", "9-_"])
def test_tenant_ids_of_the_guide_are_allowed(tenant_id: str) -> None:
    assert slug_rule().parse(tenant_id).value == tenant_id


REFUSED = [
    "../x",
    "a/b",
    "a\\b",
    "",
    " ",
    "a b",
    "x" * 300,
    "a\0b",
    "a\n",
    "\u0430cme",  # Cyrillic a
    "acm\u0435",  # Cyrillic e
    "\uff41cme",  # full width
    "acme\u200b",
    "\u017f",  # the long s, which upper() turns into S
    "\u212a",  # the Kelvin sign, which lower() turns into k
    "_docex_system_",
    "-x",
    ".",
    "..",
    "a.b",
    'a"b',
    "a;b",
    "%s",
    "{tenant_id}",
    "pg_x",
    "public",
    "PLATFORM",
    "con",
]


@pytest.mark.parametrize("tenant_id", REFUSED)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_other_tenant_ids_are_refused(kind: str, tenant_id: str) -> None:
    store = _declare(Settings(database=DatabaseSettings(type=kind))).store  # type: ignore[arg-type]
    with pytest.raises(NameRejected):
        store.parse(tenant_id)


@settings(deadline=None, max_examples=60)
@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{1,110}", fullmatch=True))
def test_an_allowed_id_names_a_file_below_the_root_and_a_whole_schema(tenant_id: str) -> None:
    for kind in ("sqlite", "postgres"):
        store = _declare(Settings(database=DatabaseSettings(type=kind))).store  # type: ignore[arg-type]
        try:
            location = store.locate(store.parse(tenant_id))
        except NameRejected:
            continue
        assert tenant_id in location
        if kind == "postgres":
            assert location == f"tenant_{tenant_id}"
            assert len(location.encode()) <= 63
        else:
            assert PurePosixPath(location).parts == (f"tenant_{tenant_id}", "docex.db")


def test_no_tenant_can_take_the_registrys_file() -> None:
    settings = DatabaseSettings.model_validate({"sqlite": {"path_template": "data/{tenant_id}.db"}})
    store = _declare(Settings(database=settings)).store
    assert store.locate(store.parse("acme")) == "acme.db"
    for tenant_id in ("registry", "Registry"):
        with pytest.raises(NameRejected):
            store.parse(tenant_id)


@pytest.mark.parametrize(
    "template", ["storage/tenant_{tenant_id}/docex.db", "deep/er/{tenant_id}.db", "../beside/{tenant_id}/.x/y.db"]
)
def test_no_id_leads_out_of_what_the_template_names(installation: Any, template: str) -> None:
    installation.setup(database={"type": "sqlite", "sqlite": {"path_template": template}})
    before = {path for path in installation.directory.parent.rglob("*") if "home" not in path.parts}
    for tenant_id in (
        "..",
        "../x",
        "a/b",
        "/etc/x",
        "x\0y",
        ".",
        "a\\b",
        "~root",
        "x" * 101,
        "a b",
        "é",
        "{tenant_id}",
    ):
        with pytest.raises(InvalidTenantIdError):
            installation.docex(tenant_id)
    assert {path for path in installation.directory.parent.rglob("*") if "home" not in path.parts} == before


def test_a_link_where_a_tenants_directory_should_be_is_refused(installation: Any, tmp_path: Path) -> None:
    installation.setup()
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    storage = installation.directory / "storage"
    storage.mkdir(exist_ok=True)
    (storage / "tenant_acme-corp").symlink_to(outside)
    with pytest.raises(DocexError):
        installation.docex("acme-corp")
    assert list(outside.iterdir()) == []
