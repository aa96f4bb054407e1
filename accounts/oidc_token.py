"""Whether an ID token is what it claims: signed by the issuer, for us, for this sign-in, and now."""

from __future__ import annotations

import hmac
from typing import Any

import jwt

from core.errors import PaasError

# Only signatures that need the issuer's private key: with HS256 whoever knows the client secret, or takes the public
# key for one, could sign (A12).
ALGORITHMS = frozenset(
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
)  # fmt: skip
KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
LEEWAY_SECONDS = 60
LATE = (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError)


def verify(token: Any, *, keys: dict[str, Any], issuer: str, client_id: str, nonce: str) -> dict[str, Any]:
    """The claims of an ID token (OpenID Connect Core §3.1.3.7).

    keys: the issuer's JWKS. Raises identity_token_invalid, and identity_clock for one that is over or not yet good,
    LEEWAY_SECONDS allowed for.
    """
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key=_key(token, keys),
            algorithms=[_algorithm(token)],
            issuer=issuer,
            audience=client_id,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )
    except LATE:
        raise PaasError("identity_clock") from None
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError):
        raise PaasError("identity_token_invalid") from None
    subject, audience = claims["sub"], claims["aud"]
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise PaasError("identity_token_invalid", details={"claim": "nonce"})
    if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != client_id:
        raise PaasError("identity_token_invalid", details={"claim": "azp"})
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise PaasError("identity_token_invalid", details={"claim": "sub"})
    return claims


def _algorithm(token: Any) -> str:
    found = jwt.get_unverified_header(token).get("alg")
    if found not in ALGORITHMS:
        raise ValueError("no algorithm of ours")
    return str(found)


def _key(token: Any, keys: dict[str, Any]) -> jwt.PyJWK:
    """The issuer's key that the token names; without a name, the only one of its kind."""
    algorithm, kid = _algorithm(token), jwt.get_unverified_header(token).get("kid")
    usable = [
        key
        for key in keys["keys"]
        if key.get("kty") == KINDS[algorithm[:2]]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (kid is None or key.get("kid") in (kid, None))
    ]
    if len(usable) != 1:
        raise ValueError("no key, or several")
    return jwt.PyJWK(usable[0], algorithm=algorithm)
