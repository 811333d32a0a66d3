"""The configuration file: found, read, merged, written whole, and never damaged or shown."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docex import DocEX, DocEXConfig
from docex.config.docex_config import config_path
from docex.errors import ConfigurationDamaged, ConfigurationError, NotInitialized

SECRET = "s3cret: \"'#\\ä\n{}"

COMMENTED = """\
# What we agreed with the customer
database:
  type: sqlite  # for now
  postgresql:   # as upstream spells it
    password: "hush #1"
    port: 5433

storage:
    filesystem: {path: 'contents'}
# the end
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_file_is_sought_in_three_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_path({}) == tmp_path / ".docex" / "config.yaml"
    assert config_path({"DOCEX_HOME": "/a"}) == Path("/a/config.yaml")
    assert config_path({"DOCEX_HOME": "/a", "DOCEX_CONFIG_FILE": "/b/c.yml"}) == Path("/b/c.yml")
    assert config_path({"DOCEX_CONFIG_FILE": "", "DOCEX_HOME": ""}) == tmp_path / ".docex" / "config.yaml"


def test_without_a_file_there_are_the_defaults_and_nothing_is_written(installation: Any, config: DocEXConfig) -> None:
    assert not config.exists
    assert config.get("database.sqlite.path_template") == "storage/tenant_{tenant_id}/docex.db"
    assert config.get("no.such.key", 7) == 7
    assert config.get("database.type.further", 7) == 7
    assert not DocEX.is_initialized()
    assert DocEX.get_setup_errors() == [str(NotInitialized())]
    with pytest.raises(RuntimeError, match=r"Call 'docex init' to setup first\."):
        DocEX()
    with pytest.raises(RuntimeError, match="not initialized"):
        DocEX.get_config()
    assert installation.files() == {}


def test_the_file_lies_over_the_defaults(installation: Any) -> None:
    """Also in a later process: a file that holds only `security:` keeps the packaged storage section."""
    installation.config_file.parent.mkdir()
    installation.config_file.write_text("security:\n  multi_tenancy_model: database_level\ndatabase:\n")
    config = DocEXConfig()
    assert config.get("storage.filesystem.path") == "storage/docex"
    assert config.get("database.type") == "sqlite"
    assert config.validate().by_tenant


def test_setup_writes_everything_once_and_later_only_what_is_given(installation: Any) -> None:
    DocEX.setup(database={"type": "postgresql", "postgres": {"password": SECRET}})
    config = DocEXConfig()
    assert config.get("database.postgres.password") == SECRET
    assert config.get("database.postgres.host") == "localhost"
    assert "multi_tenancy_model: row_level" in installation.config_file.read_text()
    assert mode(installation.config_file) == 0o600
    DocEX.setup(security={"multi_tenancy_model": "database_level"})
    assert DocEXConfig().get("database.postgres.password") == SECRET
    assert DocEX.is_initialized()
    assert (installation.directory / "storage" / "docex").is_dir()
    assert [p.name for p in installation.config_file.parent.iterdir()] == ["config.yaml"]


def test_enabling_multi_tenancy_keeps_keys_comments_and_order(installation: Any) -> None:
    installation.config_file.parent.mkdir()
    installation.config_file.write_text(COMMENTED)
    os.chmod(installation.config_file, 0o644)
    config = DocEXConfig()
    assert config.get("database.postgres.password") == "hush #1"
    assert config.enable_multi_tenancy()
    text = installation.config_file.read_text()
    for line in ("# What we agreed with the customer", "# for now", "# as upstream spells it", "# the end"):
        assert line in text
    assert '"hush #1"' in text
    assert text.index("database:") < text.index("storage:") < text.index("security:")
    assert mode(installation.config_file) == 0o600
    again = DocEXConfig()
    assert again.get("database.postgres.port") == 5433
    assert again.get("storage.filesystem.path") == "contents"
    assert not again.enable_multi_tenancy()
    assert installation.config_file.read_text() == text


def test_a_block_named_postgresql_keeps_its_name_when_changed(installation: Any) -> None:
    installation.config_file.parent.mkdir()
    installation.config_file.write_text(COMMENTED)
    DocEX.setup(database={"postgres": {"host": "db"}})
    config = DocEXConfig()
    assert (config.get("database.postgres.host"), config.get("database.postgres.port")) == ("db", 5433)
    assert "postgres:" not in installation.config_file.read_text().replace("postgresql:", "")


def test_only_comments_stay_when_a_file_holds_nothing_else(installation: Any) -> None:
    installation.config_file.parent.mkdir()
    installation.config_file.write_text("# ours\n")
    DocEXConfig().enable_multi_tenancy()
    assert installation.config_file.read_text().startswith("# ours\nsecurity:\n")


@pytest.mark.parametrize(
    "text",
    [
        "database: [",
        "- a list",
        "just text",
        "database:\n  type: sqlite\n  type: postgres\n",
        "a: !!python/object/apply:os.system ['true']",
        "\0",
        "database:\n\ttype: sqlite",
        b"\xff\xfe\x00",
        "database: {postgres: {password: hush, password: hush2}}",
    ],
)
def test_a_damaged_file_is_one_clear_error_and_stays_as_it_is(installation: Any, text: str | bytes) -> None:
    installation.config_file.parent.mkdir()
    content = text.encode() if isinstance(text, str) else text
    installation.config_file.write_bytes(content)
    for attempt in (DocEXConfig, DocEX, lambda: DocEX.setup(security={})):
        with pytest.raises(ConfigurationDamaged, match=r"cannot be read: .*It was not changed") as caught:
            attempt()
        assert "\n" not in str(caught.value)
        assert "hush" not in str(caught.value)
    assert installation.config_file.read_bytes() == content
    assert not DocEX.is_initialized()
    assert len(DocEX.get_setup_errors()) == 1


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"database": {"type": "mysql"}}, "database.type"),
        ({"database": {"postgres": {"port": "x"}}}, "database.postgres.port"),
        ({"database": {"postgres": {"port": 70000}}}, "database.postgres.port"),
        ({"database": {"postgres": {"password": 123}}}, "database.postgres.password"),
        ({"database": {"postgres": {"role_per_tenant": "maybe"}}}, "database.postgres.role_per_tenant"),
        ({"database": {"postgres": {"schema_template": "tenant"}}}, "database.postgres.schema_template"),
        (
            {"database": {"postgres": {"schema_template": "{tenant_id}{tenant_id}"}}},
            "database.postgres.schema_template",
        ),
        ({"database": {"sqlite": {"path_template": "storage/x.db"}}}, "database.sqlite.path_template"),
        ({"database": {"sqlite": {"path_template": "storage/{tenant_id}/../x.db"}}}, "database.sqlite.path_template"),
        ({"database": {"sqlite": {"path_template": "{tenant_id}/../../x.db"}}}, "database.sqlite.path_template"),
        ({"database": {"sqlite": {"path_template": "a/{tenant_id}\0.db"}}}, "database.sqlite.path_template"),
        ({"database": "sqlite"}, "database"),
        ({"storage": {"type": "tape"}}, "storage.type"),
        ({"logging": {"level": "LOUD"}}, "logging.level"),
        ({"security": {"tenant_database_routing": True}}, "security"),
        ({"security": {"multi_tenancy_model": "other"}}, "security.multi_tenancy_model"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_and_nothing_is_written(
    installation: Any, sections: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"{key}: "):
        DocEX.setup(**sections)
    assert installation.files() == {}
    assert not installation.config_file.parent.exists()


def test_unknown_keys_are_reported_once_and_have_no_effect(installation: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        DocEX.setup(database={"sqlite": {"pth": "x"}}, cache={"size": 3}, app={"anything": {"goes": 1}})
        DocEXConfig()
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "unknown keys have no effect: database.sqlite.pth, cache"
    ]
    assert DocEXConfig().get("app.anything.goes") == 1


def test_no_password_in_what_is_shown_or_logged(installation: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        DocEX.setup(database={"type": "postgres", "postgres": {"password": SECRET, "port": 1}})
        config = DocEXConfig()
        settings = config.validate()
        errors = DocEX.get_setup_errors()
    assert len(errors) == 1
    shown = [repr(config), str(config), repr(settings), str(DocEX.get_config()), repr(config.as_dict()), *errors]
    assert config.as_dict()["database"]["postgres"]["password"] == "********"
    for text in [*shown, caplog.text]:
        assert SECRET not in text
        assert "s3cret" not in text


def test_a_configuration_that_cannot_be_written_is_one_error(installation: Any) -> None:
    installation.config_file.parent.write_text("a file where the directory should be")
    with pytest.raises(ConfigurationError, match=r"config\.yaml"):
        DocEXConfig().enable_multi_tenancy()


def test_a_link_to_the_file_stays_a_link(installation: Any) -> None:
    installation.config_file.parent.mkdir()
    target = installation.directory / "managed.yaml"
    target.write_text("{}\n")
    installation.config_file.symlink_to(target)
    DocEXConfig().enable_multi_tenancy()
    assert installation.config_file.is_symlink()
    assert "database_level" in target.read_text()


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    lambda inner: st.dictionaries(st.text("abc", min_size=1), inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(first=st.dictionaries(st.text("abcd", min_size=1), values, max_size=4), second=values)
def test_what_is_written_reads_back(tmp_path_factory: pytest.TempPathFactory, first: Any, second: Any) -> None:
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    DocEXConfig(path).setup(app={"first": first})
    DocEXConfig(path).setup(app={"second": second})
    config = DocEXConfig(path)
    assert (config.get("app.first"), config.get("app.second")) == (first, second)
    DocEXConfig(path).enable_multi_tenancy()
    assert DocEXConfig(path).get("app.first") == first
