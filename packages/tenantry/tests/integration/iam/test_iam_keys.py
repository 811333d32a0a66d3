"""The platform's secret and the keys made of it: one for all workers, wherever it comes from."""

from __future__ import annotations

import os
import stat

import pytest

from tenantry.errors import DeclarationError, StoreError, TokenRefused
from tenantry.iam.secret import PlatformSecret, default_home

SECRET = "0123456789abcdef0123456789abcdef"
OFFICE = "10.0.0.7"


class Hidden:
    """As Pydantic's SecretStr."""

    def get_secret_value(self) -> str:
        return SECRET


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)


def test_secret_is_made_once_with_mode_0600_in_a_home_of_its_own(tmp_path) -> None:
    home = tmp_path / "a" / "home"
    first = PlatformSecret(None, home).derive("x")
    file = home / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert len(file.read_text().strip()) >= 43
    assert PlatformSecret(None, lambda: str(home)).derive("x") == first
    assert os.listdir(home) == ["secret.key"]


def test_mode_is_0600_whatever_the_umask(tmp_path) -> None:
    before = os.umask(0)
    try:
        PlatformSecret(None, tmp_path / "home").derive("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "home" / "secret.key").stat().st_mode) == 0o600


def test_twenty_workers_that_begin_at_once_have_one_secret_and_one_key(platform, race) -> None:
    platform.add("ann")
    body = """
def work(iam, number):
    import hashlib
    grant = iam.login("ann", "Tall-Giraffe-42", address=f"10.0.0.{number}")
    return [hashlib.sha256(iam._secret.derive("x")).hexdigest(), grant.access_token]
"""
    outcomes = race(body)
    assert all(isinstance(outcome, list) for outcome in outcomes), outcomes
    assert len({secret for secret, _ in outcomes}) == 1
    assert os.listdir(platform.home) == ["secret.key"]
    assert len(platform.rows("platform_signing_key")) == 1
    platform.clock.move(seconds=60)
    for _, token in outcomes:
        assert platform.iam.authenticate(token)
    assert platform.registry.verify_audit() == []


def test_environment_wins_over_the_file_and_the_declaration_over_both(tmp_path, monkeypatch) -> None:
    from_file = PlatformSecret(None, tmp_path).derive("x")
    monkeypatch.setenv("SECRET_KEY", SECRET[::-1])
    from_environment = PlatformSecret(None, tmp_path).derive("x")
    declared = PlatformSecret(SECRET, tmp_path).derive("x")
    assert len({from_file, from_environment, declared}) == 3
    assert PlatformSecret(Hidden(), tmp_path).derive("x") == declared
    assert PlatformSecret(lambda: Hidden(), tmp_path).derive("x") == declared
    assert PlatformSecret(lambda: None, tmp_path).derive("x") == from_environment


def test_secret_in_the_environment_makes_no_file(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SECRET_KEY", SECRET)
    PlatformSecret(None, tmp_path / "home").derive("x")
    assert not (tmp_path / "home").exists()


def test_short_secret_is_refused_without_repeating_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "changeme")
    with pytest.raises(DeclarationError, match="shorter than 32 characters") as raised:
        PlatformSecret(None, tmp_path).derive("x")
    assert "changeme" not in str(raised.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 64])
def test_damaged_file_is_told_and_kept(tmp_path, content) -> None:
    file = tmp_path / "secret.key"
    file.touch(mode=0o600)
    file.write_bytes(content)
    with pytest.raises(DeclarationError, match="does not hold a secret"):
        PlatformSecret(None, tmp_path).derive("x")
    assert file.read_bytes() == content


def test_file_that_others_may_read_is_refused(tmp_path) -> None:
    PlatformSecret(None, tmp_path).derive("x")
    (tmp_path / "secret.key").chmod(0o644)
    with pytest.raises(DeclarationError, match="chmod 600") as raised:
        PlatformSecret(None, tmp_path).derive("x")
    assert (tmp_path / "secret.key").read_text().strip() not in str(raised.value)


def test_home_that_cannot_be_made_is_one_clear_error(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"secret\.key"):
        PlatformSecret(None, tmp_path / "file" / "home").derive("x")


def test_keys_for_other_purposes_and_salts_differ_and_nothing_shows_the_secret() -> None:
    secret = PlatformSecret(SECRET, "/nowhere")
    keys = {secret.derive("a"), secret.derive("b"), secret.derive("a", "1"), secret.derive("a", "2")}
    assert len(keys) == 4
    assert all(len(key) == 32 for key in keys)
    assert SECRET not in repr(secret)
    assert SECRET not in str(vars(DeclarationError("x", "y")))


def test_default_home_is_named_by_the_environment(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("TENANTRY_HOME", str(tmp_path))
    assert default_home() == tmp_path
    monkeypatch.delenv("TENANTRY_HOME")
    assert default_home().name == "tenantry"


def test_changed_secret_ends_access_tokens_and_keeps_sessions(platform) -> None:
    platform.add("ann")
    before, after = platform.worker(secret=SECRET), platform.worker(secret=SECRET[::-1])
    grant = before.login("ann", "Tall-Giraffe-42", address=OFFICE)
    with pytest.raises(TokenRefused):
        after.authenticate(grant.access_token)
    fresh = after.refresh(grant.refresh_token, address=OFFICE)
    assert after.authenticate(fresh.access_token)
    assert before.authenticate(grant.access_token)


def test_copy_of_the_database_without_the_secret_signs_nothing(platform) -> None:
    platform.add("ann")
    grant = platform.login()
    thief = platform.worker(secret=SECRET)
    kid = platform.iam.keys()[0].kid
    assert thief._keys.find(kid) is None
    assert platform.iam.authenticate(grant.access_token)
