"""Which ID tokens are believed (A12; OpenID Connect Core §3.1.3.7)."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from accounts.oidc_token import verify
from core.errors import PaasError

ISSUER, CLIENT, NONCE = "https://login.example.com", "client-1", "nonce-1"
RSA, OTHER = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    algorithm = jwt.algorithms.ECAlgorithm if key is EC else jwt.algorithms.RSAAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, **more}


KEYS = {"keys": [jwk(RSA, "r", alg="RS256", use="sig"), jwk(EC, "e"), jwk(OTHER, "x", use="enc")]}


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {"iss": ISSUER, "aud": CLIENT, "sub": "s", "nonce": NONCE, "iat": now, "exp": now + 300, **changed}
    return {name: value for name, value in made.items() if value is not None}


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "r", **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm, headers={"kid": kid} if kid else None)


def judged(text: Any, keys: Any = KEYS) -> str:
    """The code of the refusal, "" when it is believed."""
    try:
        found = verify(text, keys=keys, issuer=ISSUER, client_id=CLIENT, nonce=NONCE)
    except PaasError as error:
        return error.code
    assert found["sub"] == "s"
    return ""


def test_good_ones() -> None:
    assert judged(token()) == ""
    assert judged(token(EC, "ES256", "e")) == ""
    assert judged(token(kid=None)) == ""  # the only key of its kind that signs
    assert judged(token(aud=[CLIENT])) == ""
    assert judged(token(aud=[CLIENT, "other"], azp=CLIENT)) == ""


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.test"}, {"iss": None}, {"aud": "other"}, {"aud": None}, {"aud": [CLIENT, "other"]},
        {"aud": [CLIENT, "other"], "azp": "other"}, {"sub": None}, {"sub": ""}, {"sub": 5}, {"sub": "s" * 256},
        {"nonce": "another"}, {"nonce": None}, {"nonce": 7}, {"exp": None}, {"iat": None},
    ],
)  # fmt: skip
def test_claims_that_are_not_for_us(changed: dict[str, Any]) -> None:
    sub = changed.get("sub")
    body = claims(**changed)
    if isinstance(sub, int):  # the library refuses to write it
        head, _, _ = token().partition(".")
        packed = base64.urlsafe_b64encode(json.dumps(body).encode()).rstrip(b"=").decode()
        signed = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(f"{head}.{packed}".encode(), RSA)
        text = f"{head}.{packed}.{base64.urlsafe_b64encode(signed).rstrip(b'=').decode()}"
    else:
        text = jwt.encode(body, RSA, "RS256", headers={"kid": "r"})
    assert judged(text) == "identity_token_invalid"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"exp": -50}, ""), ({"exp": -70}, "identity_clock"),
        ({"iat": 50}, ""), ({"iat": 90}, "identity_clock"), ({"nbf": 50}, ""), ({"nbf": 90}, "identity_clock"),
    ],
)  # fmt: skip
def test_clocks(changed: dict[str, int], code: str) -> None:
    now = int(time.time())
    assert judged(token(**{name: now + seconds for name, seconds in changed.items()})) == code


def test_signatures_that_prove_nothing() -> None:
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = base64.urlsafe_b64encode(b'{"alg":"none","kid":"r"}').rstrip(b"=").decode()
    unsigned = f"{head}.{token().split('.')[1]}."
    confused = _hs256(public)
    for text in (
        unsigned,
        confused,
        jwt.encode(claims(), "client-secret-client-secret-client", "HS256", headers={"kid": "r"}),
        token(OTHER),  # another key under the name of the good one
        token(OTHER, kid="x"),  # a key that is published for encryption
        token(kid="unknown"),
        token(EC, "ES256", "r"),
        token()[:-8] + "AAAAAAAA",
        token().replace(".", "", 1),
        "",
        "a.b.c",
        None,
        17,
        {"a": 1},
    ):
        assert judged(text) == "identity_token_invalid", text


def _hs256(secret: bytes) -> str:
    """HMAC with the public key as its secret; PyJWT itself would refuse to write it."""
    import hashlib
    import hmac

    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"r"}').rstrip(b"=").decode()
    text = f"{head}.{token().split('.')[1]}"
    mac = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.parametrize("keys", [{}, {"keys": []}, {"keys": None}, {"keys": [1]}, {"keys": "x"}, {"keys": [{}]}])
def test_odd_key_sets(keys: Any) -> None:
    assert judged(token(), keys) == "identity_token_invalid"


def test_several_keys_without_a_name() -> None:
    assert judged(token(kid=None), {"keys": [jwk(RSA, "a"), jwk(OTHER, "b")]}) == "identity_token_invalid"
