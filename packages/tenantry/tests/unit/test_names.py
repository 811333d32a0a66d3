"""What a slug may be, and that no accepted one gives a dangerous, a cut or a shared physical name."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenantry.errors import NameRejected
from tenantry.names import MAX_IDENTIFIER, NameTemplate, RelativePath, SchemaName, Slug, SlugRule
from tenantry.stores.postgres import PostgresSchemas
from tenantry.stores.sqlite import SqliteFiles

# What a careless application could allow: the names must be safe all the same.
WIDE = SlugRule(pattern=r"[A-Za-z0-9_-]{1,400}", says="anything.")
SCHEMAS = ("org_{slug}", "tenant_{slug}", "{slug}", "{slug}_data", "tenant_{slug}_x")
FILES = ("tenant_{slug}/docex.db", "{slug}.db", "{slug}", "{slug}/data", "a/b/{slug}/c.db", "x-{slug}")

plain = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", max_size=80)
tricky = st.sampled_from(
    [
        "..",
        "../x",
        "a/b",
        "/etc/passwd",
        "a\\b",
        ".",
        "a.b",
        "a\x00b",
        "CON",
        "nul",
        "com1",
        "registry",
        "registry.db",
        "pg_x",
        "PG_x",
        "public",
        "Platform",
        "information_schema",
        "-wal",
        "a-wal",
        "a-shm",
        "a-journal",
        "\u0430cme",
        "acme\u200b",
        "\ufb01le",
        "\u0663",
        "é",
        "{slug}",
        "%s",
        "';DROP--",
        "",
        "a b",
        "acme\n",
        "x" * 63,
        "x" * 64,
        "x" * 300,
    ]
)
anything = st.one_of(plain, tricky, st.text(max_size=40))
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")


def accepted(store, slug):
    """The slug's location, or None when it is refused; any other error is a bug."""
    try:
        return store.locate(store.parse(slug))
    except NameRejected:
        return None


@given(slug=anything, template=st.sampled_from(SCHEMAS))
@example(slug="x" * 60, template="org_{slug}")
def test_accepted_slug_gives_a_schema_that_postgresql_keeps_whole(slug, template) -> None:
    location = accepted(PostgresSchemas("postgresql://x/y", template, slugs=WIDE), slug)
    if location is not None:
        assert len(location.encode()) <= 63
        assert not location.lower().startswith("pg_")
        assert location.lower() not in {"public", "platform", "information_schema"}


@given(slug=anything, template=st.sampled_from(FILES))
@example(slug="registry", template="{slug}.db")
@example(slug="x" * 250, template="{slug}.db")
def test_accepted_slug_gives_a_file_below_the_root(slug, template) -> None:
    root = Path("/srv/storage")
    location = accepted(SqliteFiles(root, template, slugs=WIDE), slug)
    if location is not None:
        path = PurePosixPath(root / location)
        assert path.is_relative_to(root)
        assert path != root
        assert ".." not in path.parts
        # A temporary name is made from it, which a file system must take as well.
        assert all(len(f".{part}.0123456789ab.tmp-journal".encode()) <= 255 for part in path.parts)
        assert location.lower().split("/")[0] not in {"registry.db", "registry.db-wal", "registry.db-shm", ".tenantry"}


@given(slugs=st.tuples(anything, anything), template=st.sampled_from(FILES))
@example(slugs=("a", "a-wal"), template="{slug}")
@example(slugs=("a", "a-journal"), template="x-{slug}")
@example(slugs=("a", "A"), template="{slug}.db")
def test_two_accepted_slugs_never_share_a_file_even_where_case_does_not_count(slugs, template) -> None:
    store = SqliteFiles(Path("/srv/storage"), template, slugs=WIDE)
    first, second = (accepted(store, slug) for slug in slugs)
    if first is None or second is None or slugs[0].lower() == slugs[1].lower():
        return  # the registry refuses the second of two that differ in letter case only
    held = {first.lower() + suffix for suffix in ("", "-wal", "-shm", "-journal")}
    assert second.lower() not in held
    assert first.lower() not in {second.lower() + suffix for suffix in ("", "-wal", "-shm", "-journal")}


@given(slugs=st.tuples(anything, anything), template=st.sampled_from(SCHEMAS))
def test_two_accepted_slugs_never_share_a_schema(slugs, template) -> None:
    store = PostgresSchemas("postgresql://x/y", template, slugs=WIDE)
    first, second = (accepted(store, slug) for slug in slugs)
    if first is not None and second is not None and slugs[0] != slugs[1]:
        assert first != second


@pytest.mark.parametrize(
    "slug",
    [
        "pg_catalog",
        "pg_x",
        "PG_toast",
        "information_schema",
        "INFORMATION_SCHEMA",
        "public",
        "Public",
        "platform",
        "con",
        "NUL",
        "com1",
        "lpt9",
    ],
)
def test_reserved_names_are_refused(slug) -> None:
    with pytest.raises(NameRejected):
        WIDE.parse(slug)


def test_slug_with_the_prefix_of_postgresql_is_told_so() -> None:
    with pytest.raises(NameRejected, match="Slug cannot start with reserved prefix 'pg_'"):
        SlugRule().parse("pg_acme")


@pytest.mark.parametrize(
    "slug",
    [
        "../x",
        "a/b",
        "/abs",
        "a\\b",
        "..",
        ".",
        "a\x00b",
        "acme\x00",
        "\u0430cme",
        "\uff41cme",
        "acme\u200b",
        "a.b",
        "a;b",
        'a"b',
        "é",
        "\u0663a",
        "1a",
        "-a",
        "_a",
        "Acme",
        "{slug}",
        "%(x)s",
        "",
        "a b",
        "acme\n",
        "x" * 300,
    ],
)
def test_default_rule_refuses_what_is_not_a_plain_name(slug) -> None:
    with pytest.raises(NameRejected) as raised:
        SlugRule().parse(slug)
    assert "use a-z, 0-9, '_' and '-'" in str(raised.value)
    assert len(str(raised.value)) < 300


def test_rule_of_the_application_cannot_allow_more_than_letters_digits_and_two_signs() -> None:
    everything = SlugRule(pattern=r"(?s).*", says="anything.")
    for text in ("a/b", "..", "a\0b", "é", "a b", ""):
        with pytest.raises(NameRejected):
            everything.parse(text)


@pytest.mark.parametrize("slug", ["acme", "acme-corp", "customer_123", "a", "x" * 63])
def test_ordinary_names_are_accepted(slug) -> None:
    assert SlugRule().parse(slug).value == slug


def test_names_of_the_application_are_reserved_in_every_letter_case() -> None:
    rule = SlugRule(pattern="[A-Za-z]+", reserved=frozenset({"admin"}))
    for text in ("admin", "ADMIN"):
        with pytest.raises(NameRejected, match="reserved"):
            rule.parse(text)


def test_schema_that_would_be_cut_is_refused_with_its_length() -> None:
    with pytest.raises(NameRejected, match="64 bytes long and PostgreSQL cuts names after 63"):
        NameTemplate("org_{slug}").schema(Slug("x" * 60))
    assert NameTemplate("org_{slug}").schema(Slug("x" * 59)).value == "org_" + "x" * 59


def test_platforms_own_schema_is_no_tenants() -> None:
    store = PostgresSchemas("postgresql://x/y", "{slug}", platform="beak")
    with pytest.raises(NameRejected, match="platform's own schema"):
        store.parse("beak")


@pytest.mark.parametrize("template", ["org", "{slug}{slug}", "{tenant}", "{slug}/{x}", "{slug", "{slug}}", "", "{}"])
def test_template_must_hold_the_slug_exactly_once(template) -> None:
    with pytest.raises(NameRejected, match="exactly once"):
        NameTemplate(template)


def test_template_may_call_the_slug_as_the_application_does() -> None:
    template = NameTemplate("tenant_{tenant_id}/docex.db", placeholder="tenant_id")
    assert template.path(Slug("acme-corp")).value == "tenant_acme-corp/docex.db"


@pytest.mark.parametrize("name", ["", "a\0b", "pg_temp", "PUBLIC", "x" * 64, "é" * 32])
def test_schema_names_are_checked_however_they_come(name) -> None:
    with pytest.raises(NameRejected):
        SchemaName(name)


@pytest.mark.parametrize(
    "path", ["", ".", "..", "a/../b", "/a", "a\\b", "a\0b", "con/x", "x/NUL.db", "a./b", "a /b", "x/" + "y" * 256]
)
def test_paths_are_checked_however_they_come(path) -> None:
    with pytest.raises(NameRejected):
        RelativePath(path)


def roles(store, oid, slug):
    """The role that a slug would have in a database of that oid."""
    from tenantry.stores.postgres import Login

    store._login = Login("db", oid, "me", True, True, True, 180000)
    return store.role_for(store.parse(slug))


@given(slug=plain, oid=st.integers(1, 2**32 - 1))
@example(slug="x" * 59, oid=2**32 - 1)
def test_role_fits_and_differs_between_two_databases_of_one_server(slug, oid) -> None:
    store = PostgresSchemas("postgresql://x/y", "org_{slug}", slugs=WIDE)
    if accepted(store, slug) is None:
        return
    role, other = roles(store, oid, slug), roles(store, oid + 1, slug)
    assert len(role.encode()) <= MAX_IDENTIFIER
    assert role != other
    assert "@" in role  # no slug holds one, so no tenant's role is another's


@given(st.lists(plain, min_size=2, max_size=6, unique=True))
@example(["x" * 58 + "a", "x" * 58 + "b"])
def test_long_slugs_of_one_beginning_have_roles_of_their_own(slugs) -> None:
    store = PostgresSchemas("postgresql://x/y", "org_{slug}", slugs=WIDE)
    found = [roles(store, 4294967295, slug) for slug in slugs if accepted(store, slug)]
    assert len(set(found)) == len(found)
