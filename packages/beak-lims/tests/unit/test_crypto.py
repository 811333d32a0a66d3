"""Personal data is sealed with keys that can be replaced, and found by hashes that nobody else can make."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beak_lims.crypto import FILE, Keyring, keyring_of
from beak_lims.errors import DecryptionFailed, SettingRejected
from beak_lims.settings import Settings

OLD, NEW, SEARCH = "o" * 32, "n" * 32, "s" * 32


@given(st.text())
def test_every_text_comes_back_and_never_looks_the_same(text: str) -> None:
    ring = Keyring([OLD], SEARCH)
    first, second = ring.encrypt(text), ring.encrypt(text)
    assert first != second
    assert ring.decrypt(first) == ring.decrypt(second) == text
    assert len(text) < 4 or text not in first


def test_key_is_replaced_while_old_values_stay_readable() -> None:
    kept = Keyring([OLD], SEARCH).encrypt("Rudo")
    both = Keyring([NEW, OLD], SEARCH)
    assert both.decrypt(kept) == "Rudo"
    assert Keyring([NEW], SEARCH).decrypt(both.encrypt("Rudo")) == "Rudo"
    with pytest.raises(DecryptionFailed, match="key that is not among"):
        Keyring([NEW], SEARCH).decrypt(kept)


@pytest.mark.parametrize(
    "damage", ["", "x", "Rudo", "1:", "1:00000000:AAAA", "2:{mark}:{sealed}", "1:{mark}:{other}", "1:{mark}:%%"]
)
def test_value_that_was_changed_is_refused(damage: str) -> None:
    ring = Keyring([OLD], SEARCH)
    _, mark, sealed = ring.encrypt("Rudo").split(":")
    other = "A" + sealed[1:] if sealed[0] != "A" else "B" + sealed[1:]
    with pytest.raises(DecryptionFailed):
        ring.decrypt(damage.format(mark=mark, sealed=sealed, other=other))


def test_digest_needs_the_key_and_keeps_its_parts_apart() -> None:
    ring = Keyring([OLD], SEARCH)
    assert ring.digest("a", "bc") == Keyring([NEW], SEARCH).digest("a", "bc")
    assert ring.digest("a", "bc") != ring.digest("ab", "c")
    assert ring.digest("a", "bc") != Keyring([OLD], NEW).digest("a", "bc")
    assert OLD not in repr(ring)


def test_without_a_secret_key_every_process_signs_with_the_same_one(tmp_path: Path) -> None:
    """Else each worker would refuse the others' tokens, and a restart would log everybody out."""
    first, second = (keyring_of(settings(tmp_path)).signing_key("tokens") for _ in range(2))
    assert first == second
    assert keyring_of(settings(tmp_path, SECRET_KEY="x" * 40)).signing_key("tokens") != first


def settings(home: Path, **given: str) -> Settings:
    return Settings(_env_file=None, BEAK_HOME=home, **given)  # type: ignore[call-arg, arg-type]


def test_keys_come_from_the_settings_or_from_a_file_made_once(tmp_path: Path) -> None:
    given = keyring_of(settings(tmp_path, HIPAA_ENCRYPTION_KEY=f"{NEW}, {OLD}", SEARCH_ENCRYPTION_KEY=SEARCH))
    assert given.decrypt(Keyring([OLD], SEARCH).encrypt("Rudo")) == "Rudo"
    assert not (tmp_path / FILE).exists()
    kept = keyring_of(settings(tmp_path)).encrypt("Rudo")
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert keyring_of(settings(tmp_path)).decrypt(kept) == "Rudo"


def test_key_that_cannot_be_used_is_named_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(SettingRejected, match="HIPAA_ENCRYPTION_KEY") as refused:
        keyring_of(settings(tmp_path, HIPAA_ENCRYPTION_KEY="too-short-a-secret"))
    assert "too-short" not in str(refused.value)
    (tmp_path / FILE).write_text("x" * 40)
    os.chmod(tmp_path / FILE, 0o644)
    with pytest.raises(SettingRejected, match="chmod 600"):
        keyring_of(settings(tmp_path))
    os.chmod(tmp_path / FILE, 0o600)
    (tmp_path / FILE).write_text("short")
    with pytest.raises(SettingRejected, match="holds no key"):
        keyring_of(settings(tmp_path))
