"""Access tokens: what is in them, which are refused, and how fast one dies."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta

import jwt
import pytest

from tenantry.errors import Forbidden, TokenRefused
from tenantry.iam.matrix import Action

OFFICE = "10.0.0.7"


@pytest.fixture
def grant(platform):
    """Ann, who provisions, is logged in; the platform has an administrator too."""
    platform.add("root", "administrator")
    platform.add("ann", "provisioner")
    return platform.login()


@pytest.fixture
def forge(platform, grant):
    """Make a token like the good one, with other claims, headers or key; it is signed as ours are."""
    header = jwt.get_unverified_header(grant.access_token)
    payload = jwt.decode(grant.access_token, options={"verify_signature": False})
    key = platform.iam._keys.find(header["kid"])

    def make(*, key=key, algorithm="HS256", headers=None, drop=(), **claims):
        content = {name: value for name, value in {**payload, **claims}.items() if name not in drop}
        return jwt.encode(content, key, algorithm, headers={**header, **(headers or {})})

    make.payload, make.header, make.key = payload, header, key
    make.now = int(platform.clock().timestamp())
    return make


def refused(iam, token) -> str:
    with pytest.raises(TokenRefused, match=r"^Invalid platform authentication token$") as raised:
        iam.authenticate(token)
    assert token == "" or token not in repr(raised.value)
    return str(raised.value.args[0])


def part(content) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def raw(header, payload, key: bytes) -> str:
    """A token put together without a library, which would refuse to make it."""
    signed = f"{part(header)}.{part(payload)}"
    signature = hmac.digest(key, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_token_says_who_for_whom_and_how_long_in_seconds(platform, grant, forge) -> None:
    assert set(forge.payload) == {"sub", "sid", "aud", "iss", "jti", "iat", "nbf", "exp"}
    assert (forge.payload["aud"], forge.payload["iss"], forge.payload["sub"]) == (
        "platform",
        "tenantry",
        grant.user.uid,
    )
    assert forge.payload["iat"] == forge.payload["nbf"] == forge.now
    assert forge.payload["exp"] == forge.now + 900 == forge.now + grant.expires_in
    assert forge.header == {"alg": "HS256", "typ": "JWT", "kid": platform.iam.keys()[0].kid}
    assert platform.iam.authenticate(forge()).token_id == forge.payload["jti"]


def test_every_token_has_an_id_of_its_own(platform, grant) -> None:
    ids = {platform.iam.authenticate(platform.login().access_token).token_id for _ in range(5)}
    assert len(ids) == 5


BAD = {
    "another key": lambda make: make(key=b"k" * 32),
    "an empty key": lambda make: raw(make.header, make.payload, b""),
    "another audience": lambda make: make(aud="tenant"),
    "our audience among others": lambda make: make(aud=["platform", "tenant"]),
    "our audience in a list": lambda make: make(aud=["platform"]),
    "no audience, as a tenant's token": lambda make: make(drop=["aud"], tenant_slug="acme", organization_uid="o1"),
    "a null audience": lambda make: make(aud=None),
    "another issuer": lambda make: raw(make.header, {**make.payload, "iss": "somebody"}, make.key),
    "no issuer": lambda make: make(drop=["iss"]),
    "no id": lambda make: make(drop=["jti"]),
    "no subject": lambda make: make(drop=["sub"]),
    "no session": lambda make: make(drop=["sid"]),
    "no expiry": lambda make: make(drop=["exp"]),
    "no beginning": lambda make: make(drop=["nbf"]),
    "no time of issue": lambda make: make(drop=["iat"]),
    "expired now": lambda make: make(iat=make.now - 900, nbf=make.now - 900, exp=make.now),
    "expired a year ago": lambda make: make(
        iat=make.now - 31_536_900, nbf=make.now - 31_536_900, exp=make.now - 31_536_000
    ),
    "in milliseconds": lambda make: make(exp=(make.now + 900) * 1000),
    "all in milliseconds": lambda make: make(iat=make.now * 1000, nbf=make.now * 1000, exp=(make.now + 900) * 1000),
    "issued in the future": lambda make: make(iat=make.now + 60, exp=make.now + 960),
    "beginning in the future": lambda make: make(nbf=make.now + 60),
    "living for four hours": lambda make: make(exp=make.now + 14_400),
    "a time as text": lambda make: raw(make.header, {**make.payload, "exp": str(make.now + 900)}, make.key),
    "a time as a fraction": lambda make: raw(make.header, {**make.payload, "exp": make.now + 899.5}, make.key),
    "a time as a truth": lambda make: raw(make.header, {**make.payload, "iat": True}, make.key),
    "a time beyond all": lambda make: raw(make.header, {**make.payload, "exp": 10**400}, make.key),
    "a subject that is no text": lambda make: raw(make.header, {**make.payload, "sub": 7}, make.key),
    "somebody else": lambda make: make(sub="f" * 32),
    "another session": lambda make: make(sid="f" * 32),
    "a NUL for a session": lambda make: make(sid="\0"),
    "half a letter for a session": lambda make: make(sid="\ud800"),
    "a session that is a list": lambda make: make(sid=["x"]),
    "alg none": lambda make: raw({**make.header, "alg": "none"}, make.payload, make.key),
    "alg none, unsigned": lambda make: f"{part({**make.header, 'alg': 'none'})}.{part(make.payload)}.",
    "alg None": lambda make: f"{part({**make.header, 'alg': 'None'})}.{part(make.payload)}.",
    "a longer hash": lambda make: make(key=make.key * 2, algorithm="HS512"),
    "RS256 over our key": lambda make: raw({**make.header, "alg": "RS256"}, make.payload, make.key),
    "no key id": lambda make: raw({"alg": "HS256", "typ": "JWT"}, make.payload, make.key),
    "an unknown key id": lambda make: make(headers={"kid": "f" * 32}),
    "a key id that is a path": lambda make: make(headers={"kid": "../../etc/passwd"}),
    "a key id that is SQL": lambda make: make(headers={"kid": "' OR 1=1 --"}),
    "a key id of half a letter": lambda make: raw({**make.header, "kid": "\ud800" * 32}, make.payload, make.key),
    "a key id that is a number": lambda make: raw({**make.header, "kid": 7}, make.payload, make.key),
    "cut in the signature": lambda make: make()[:-4],
    "cut in the middle": lambda make: make()[: len(make()) // 2],
    "without a signature": lambda make: make().rpartition(".")[0],
    "with an empty signature": lambda make: make().rpartition(".")[0] + ".",
    "signed by another token's signature": lambda make: (
        make().rpartition(".")[0] + "." + make(sid="x").rpartition(".")[2]
    ),
    "with a fourth part": lambda make: make() + ".x",
    "with a blank": lambda make: make() + " ",
    "1 MB of claims": lambda make: make(padding="x" * 1_000_000),
    "1 MB of dots": lambda make: "." * 1_000_000,
    "1 MB of letters": lambda make: "x" * 1_000_000,
    "nothing": lambda make: "",
    "two dots": lambda make: "..",
    "not ASCII": lambda make: "é" + make(),
    "a payload that is a list": lambda make: raw(make.header, ["sub"], make.key),
    "a header that is a list": lambda make: f"{part(['alg'])}.{part(make.payload)}.x",
    "a password": lambda make: "Tall-Giraffe-42",
}


@pytest.mark.parametrize("kind", BAD)
def test_token_that_is_not_ours_is_refused_and_ends_nothing(platform, grant, forge, kind) -> None:
    before = platform.everything()
    assert refused(platform.iam, BAD[kind](forge))
    assert platform.everything() == before
    assert platform.iam.authenticate(grant.access_token)


def test_token_dies_when_its_time_is_up(platform, grant) -> None:
    platform.clock.move(seconds=899)
    assert platform.iam.authenticate(grant.access_token)
    platform.clock.move(seconds=1)
    assert "expired" in refused(platform.iam, grant.access_token)


def test_clock_of_another_worker_may_lag_a_little(platform, grant) -> None:
    platform.clock.move(seconds=-8)
    assert platform.iam.authenticate(grant.access_token)
    platform.clock.move(seconds=-8)
    assert "future" in refused(platform.iam, grant.access_token)


def test_tokens_with_made_up_keys_cost_no_database_work(platform, grant, forge) -> None:
    with platform.queries() as sent:
        for number in range(500):
            refused(platform.iam, forge(headers={"kid": f"{number:032x}"}))
            refused(platform.iam, forge(key=b"k" * 32))
    assert sent == []


def test_good_token_costs_one_query(platform, grant) -> None:
    platform.iam.authenticate(grant.access_token)
    with platform.queries() as sent:
        platform.iam.authenticate(grant.access_token)
    assert len(sent) == 1


def test_disabled_users_token_dies_at_once_for_every_worker(platform, grant) -> None:
    workers = [platform.worker() for _ in range(3)]
    for worker in workers:
        worker.authenticate(grant.access_token)
    platform.iam.disable(grant.user.uid)
    for worker in workers:
        refused(worker, grant.access_token)
    platform.iam.enable(grant.user.uid)
    refused(platform.iam, grant.access_token)  # its session ended


def test_roles_are_those_of_now(platform, grant) -> None:
    worker = platform.worker()
    worker.require(worker.authenticate(grant.access_token), Action.PROVISION)
    platform.iam.set_roles(grant.user.uid, ["support", "billing"])
    principal = worker.authenticate(grant.access_token)
    assert principal.user.roles == ("billing", "support")
    with pytest.raises(Forbidden, match=r"^Insufficient platform role$"):
        worker.require(principal, Action.PROVISION)
    platform.iam.set_roles(grant.user.uid, [])
    assert worker.authenticate(grant.access_token).user.roles == ()


def test_token_of_another_platform_with_the_same_secret_is_refused(platform, tmp_path, grant) -> None:
    from tenantry.iam.iam import Iam
    from tenantry.iam.secret import PlatformSecret
    from tenantry.registry.registry import Registry
    from tenantry.stores.sqlite import SqliteFiles

    store = SqliteFiles(tmp_path / "other", name="{slug}.db")
    registry = Registry(store.control_engine, None, store.describe())
    registry.upgrade()
    other = Iam(registry, None, PlatformSecret(None, platform.home), clock=platform.clock)
    refused(other, grant.access_token)
    store.close()


def test_rotation_leaves_the_old_keys_tokens_their_time(platform, grant) -> None:
    before = platform.iam.keys()[0].kid
    platform.clock.move(minutes=5)
    after = platform.iam.rotate_keys()
    worker = platform.worker()
    new = platform.login()
    assert jwt.get_unverified_header(new.access_token)["kid"] == after.kid != before
    for iam in (platform.iam, worker):
        assert iam.authenticate(grant.access_token)
        assert iam.authenticate(new.access_token)
    platform.clock.move(minutes=10)
    refused(platform.iam, grant.access_token)
    assert platform.iam.authenticate(new.access_token)
    assert platform.actions()[-2:] == [("key.rotate", "done"), ("auth.login", "done")]


def test_rotation_at_once_kills_the_old_keys_tokens_and_keeps_the_sessions(platform, grant) -> None:
    worker = platform.worker()
    worker.authenticate(grant.access_token)
    platform.iam.rotate_keys(overlap=False)
    refused(platform.iam, grant.access_token)
    refused(worker, grant.access_token)
    fresh = worker.refresh(grant.refresh_token, address=OFFICE)
    assert platform.iam.authenticate(fresh.access_token)


def test_worker_knows_a_new_key_at_once_even_under_a_flood_of_made_up_ones(platform, grant, forge) -> None:
    worker = platform.worker()
    for number in range(100):
        refused(worker, forge(headers={"kid": f"{number:032x}"}))
    platform.iam.rotate_keys()
    assert worker.authenticate(platform.login().access_token)


def test_retired_keys_go_after_a_day_and_the_list_shows_no_key(platform, grant) -> None:
    for _ in range(3):
        platform.iam.rotate_keys()
    listed = platform.iam.keys()
    assert [key.retires_at is None for key in listed] == [True, False, False, False]
    platform.clock.move(days=2)
    platform.iam.rotate_keys()
    keys = platform.iam.keys()
    assert len(keys) == 2
    assert keys[1].retires_at - platform.clock() <= timedelta(minutes=16)
    assert all(key.secret == b"" for key in keys)
    assert platform.iam._keys.find(keys[0].kid).hex() not in platform.everything()
