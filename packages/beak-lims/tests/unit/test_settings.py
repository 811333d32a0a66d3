"""Settings are read from the environment and .env.

What cannot be used is refused in one line that repeats no secret.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beak_lims.errors import SettingRejected
from beak_lims.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias), raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_any_setting_the_defaults_of_the_guide_hold() -> None:
    settings = load_settings()
    assert settings.database_url is None
    assert settings.tenant_schema_prefix == "org_"
    assert settings.platform_schema == "platform"
    assert settings.tenant_roles is True
    assert settings.home.is_absolute()
    assert settings.home.name == "beak-lims"
    assert settings.secret_key is None


def test_environment_wins_over_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TENANT_SCHEMA_PREFIX=lab_\nPLATFORM_SCHEMA=control\n")
    monkeypatch.setenv("TENANT_SCHEMA_PREFIX", "org2_")
    settings = load_settings()
    assert (settings.tenant_schema_prefix, settings.platform_schema) == ("org2_", "control")


def test_empty_value_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAK_DATABASE_URL", "")
    monkeypatch.setenv("TENANT_SCHEMA_PREFIX", "")
    assert load_settings().database_url is None
    assert load_settings().tenant_schema_prefix == "org_"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_spelling_of_a_postgresql_url_gives_the_one_driver(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("BEAK_DATABASE_URL", f"{scheme}://u:p%40ss@db.example:5433/lims?sslmode=require")
    url = load_settings().database_url
    assert url is not None
    assert url.get_secret_value() == "postgresql+psycopg://u:p%40ss@db.example:5433/lims?sslmode=require"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///hidden-pass.db",
        "postgresql+asyncpg://u:hidden-pass@h/d",
        "hidden-pass",
        "postgresql://u:hidden-pass@h:port/d",
        "postgresql://u:hidden-pass@h",
        "://hidden-pass",
        "postgresql://u:hidden-pass\udcff@h/d",
    ],
)
def test_unusable_database_url_is_refused_without_repeating_it(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("BEAK_DATABASE_URL", url)
    with pytest.raises(SettingRejected) as caught:
        load_settings()
    message = str(caught.value)
    assert message.startswith("Setting BEAK_DATABASE_URL: ")
    assert "hidden-pass" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TENANT_SCHEMA_PREFIX", "Org-"),
        ("TENANT_SCHEMA_PREFIX", "pg_"),
        ("TENANT_SCHEMA_PREFIX", "x" * 63),
        ("PLATFORM_SCHEMA", 'plat"form'),
        ("PLATFORM_SCHEMA", "public"),
        ("PLATFORM_SCHEMA", "pg_catalog"),
        ("PLATFORM_SCHEMA", "p" * 64),
        ("BEAK_TENANT_ROLES", "perhaps"),
    ],
)
def test_bad_value_is_one_clear_line_with_the_settings_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingRejected) as caught:
        load_settings()
    assert str(caught.value).startswith(f"Setting {name}: ")
    assert "\n" not in str(caught.value)


def test_home_that_is_a_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BEAK_HOME", str(tmp_path / "file"))
    with pytest.raises(SettingRejected, match=r"BEAK_HOME: .* is not a directory"):
        load_settings()


def test_home_may_be_relative_and_is_not_made_by_reading(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BEAK_HOME", "data")
    assert load_settings().home == tmp_path / "data"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"BEAK_HOME=/srv\nBEAK_DATABASE_URL='postgresql://u:hidden-pass@h/d\n", "line 2"),
        (b"\xff\xfe\x00B", "UTF-8"),
        (b"A=1\nBEAK_HOME=\x00\n", "line 2"),
        (b"this is no setting = 'x\n", "line 1"),
    ],
)
def test_damaged_env_file_is_refused_and_not_read_in_part(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(SettingRejected, match=reason) as caught:
        load_settings()
    assert "hidden-pass" not in str(caught.value)
    assert str(tmp_path / ".env") in str(caught.value)


def test_env_file_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingRejected, match="cannot be read"):
        load_settings()


def test_env_file_with_a_byte_order_mark_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfPLATFORM_SCHEMA=control\r\n# comment\r\nOTHER=1\r\n")
    assert load_settings().platform_schema == "control"


def test_secrets_do_not_show_in_the_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAK_DATABASE_URL", "postgresql://u:hidden-pass@h/d")
    monkeypatch.setenv("SECRET_KEY", "hidden-key")
    monkeypatch.setenv("PLATFORM_SUPERUSER_PASSWORD", "hidden-superuser")
    assert "hidden" not in repr(load_settings())
    assert "hidden" not in str(load_settings().model_dump())


@pytest.mark.parametrize("name", ["Authorization", "X-Laboratory-ID", "with space", "-x", "x" * 65])
def test_header_that_means_something_else_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TENANT_HEADER_NAME", name)
    with pytest.raises(SettingRejected, match="TENANT_HEADER_NAME"):
        load_settings()


def test_origin_that_is_no_expression_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGIN_REGEX", "https://(")
    with pytest.raises(SettingRejected, match="CORS_ORIGIN_REGEX"):
        load_settings()
