"""A real OpenID provider on loopback (oidc-provider-mock), with what it lacks: it insists on PKCE, and can go wrong."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import warnings
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cache, partial
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import aiohttp

from tests.lazy import Lazy

serving = Lazy("werkzeug.serving")
AUTHORIZE, TOKEN, DISCOVERY = "/oauth2/authorize", "/oauth2/token", "/.well-known/openid-configuration"


def listening(application: Any) -> Any:
    """A server on a free port of loopback that says nothing of what it answers."""

    class Quiet(serving.WSGIRequestHandler):
        def log(self, *args: Any, **kwargs: Any) -> None: ...

    return serving.make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)


def _remembering(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    found: dict[str, Any] = {}

    def import_any_key(data: Any) -> Any:
        name = json.dumps(data, sort_keys=True, default=repr)
        if name not in found:
            found[name] = read(data)
        return found[name]

    import_any_key.cache = found  # type: ignore[attr-defined]
    return import_any_key


class Idp:
    """`with Idp() as idp`: the provider at `idp.issuer`.

    asked: the parameters of each authorization request; sent: the forms of each token request. tamper: by path, what
    becomes of its JSON. wrong_nonce: it answers for another sign-in. stall: paths that wait until the end. plain: by
    path, bytes that it answers instead.
    """

    def __init__(self, *, lasts: timedelta = timedelta(hours=1)) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import oidc_provider_mock
            from authlib.jose import RSAKey
            from authlib.oidc.core.grants import code

            # It reads its key anew for each token, which takes 30 ms, and each provider makes one, which takes 200 ms.
            if not hasattr(code.import_any_key, "cache"):
                code.import_any_key = _remembering(code.import_any_key)
                RSAKey.generate_key = partial(cache(RSAKey.generate_key), is_private=True)
            self._app = oidc_provider_mock.app(access_token_max_age=lasts)
        self.asked: list[dict[str, str]] = []
        self.sent: list[dict[str, str]] = []
        self.tamper: dict[str, Callable[[dict[str, Any]], Any]] = {}
        self.plain: dict[str, tuple[int, bytes]] = {}
        self.stall: set[str] = set()
        self.wrong_nonce = False
        self._challenges: dict[str, str] = {}
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._server = listening(self._serve)
        self.port = self._server.server_port
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    # --- the person's browser, at the provider's page ---

    async def knows(self, sub: str, **claims: Any) -> None:
        """Someone whom the provider knows."""
        async with (
            aiohttp.ClientSession() as session,
            session.put(f"{self.issuer}/users/{sub}", json=claims) as answer,
        ):
            assert answer.status == 204, await answer.text()

    async def sign_in(self, address: str, sub: str, *, deny: bool = False) -> str:
        """Sign in there as `sub`; where the browser is sent next."""
        assert address.startswith(self.issuer + AUTHORIZE), address
        form = {"action": "deny"} if deny else {"sub": sub}
        async with (
            aiohttp.ClientSession() as session,
            session.post(address, data=form, allow_redirects=False) as answer,
        ):
            assert answer.status in (302, 303), await answer.text()
            return answer.headers["Location"]

    # --- the server ---

    def _serve(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path in self.stall:
            self._over.wait(30)
        if path in self.plain:
            status, body = self.plain[path]
            start(f"{status} -", [("Content-Type", "application/json")])
            return [body]
        if path == TOKEN and not self._is_proven(environ):
            start("400 -", [("Content-Type", "application/json")])
            return [b'{"error": "invalid_grant"}']
        query = dict(parse_qsl(environ["QUERY_STRING"]))
        if path == AUTHORIZE:
            self.asked.append(query)
            assert query["code_challenge_method"] == "S256"
            if self.wrong_nonce:
                environ["QUERY_STRING"] = urlencode({**query, "nonce": "another"})
        return self._answer(environ, start, path, query)

    def _answer(self, environ: dict[str, Any], start: Any, path: str, query: dict[str, str]) -> Iterable[bytes]:
        told: list[Any] = []

        def kept(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            told[:] = [status, headers]

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = self._app(environ, kept)
            body = b"".join(made)
            if hasattr(made, "close"):
                made.close()
        status, headers = told
        location = dict(headers).get("Location", "")
        if path == AUTHORIZE and "code=" in location:
            self._challenges[parse_qs(urlsplit(location).query)["code"][0]] = query["code_challenge"]
        if path in self.tamper:
            body = json.dumps(self.tamper[path](json.loads(body))).encode()
            headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
        start(status, headers)
        return [body]

    def _is_proven(self, environ: dict[str, Any]) -> bool:
        """PKCE (RFC 7636): the verifier is that of the code's challenge."""
        raw = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ["wsgi.input"] = io.BytesIO(raw)
        form = dict(parse_qsl(raw.decode()))
        self.sent.append(form)
        made = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        return self._challenges.get(form["code"]) == made.rstrip(b"=").decode()


class FakeGitHub:
    """GitHub's wire: OAuth 2 with `/user` and `/user/emails`, in GitHub Enterprise's addresses."""

    def __init__(self) -> None:
        self.person: Any = {"id": 4711, "login": "octo", "name": "Octo Cat", "email": "public@elsewhere.test"}
        self.emails: Any = []
        self.sent: list[dict[str, str]] = []
        self.challenge = ""

    def __enter__(self) -> Self:
        self._server = listening(self._serve)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    def approve(self, address: str) -> str:
        """The person lets us in; where the browser is sent next."""
        assert address.startswith(f"{self.url}/login/oauth/authorize?")
        query = dict(parse_qsl(urlsplit(address).query))
        assert "user:email" in query["scope"]
        self.challenge = query["code_challenge"]
        return f"{query['redirect_uri']}?{urlencode({'code': 'gh-code', 'state': query['state']})}"

    def _serve(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path, answer = environ["PATH_INFO"], None
        if path == "/login/oauth/access_token":
            form = dict(parse_qsl(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()))
            self.sent.append(form)
            made = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
            good = (
                form["code"] == "gh-code" and form["client_secret"] == "gh-secret" and made.decode() == self.challenge
            )
            answer = {"access_token": "gho_x", "token_type": "bearer"} if good else {"error": "bad_verification_code"}
        elif environ.get("HTTP_AUTHORIZATION") == "Bearer gho_x":
            answer = {"/api/v3/user": self.person, "/api/v3/user/emails": self.emails}.get(path)
        start("200 OK" if answer is not None else "401 -", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]
