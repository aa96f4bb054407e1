"""Open WebUI as a subject of the comparison: signed in, with the stand-in vendor as its one connection."""

from __future__ import annotations

import shutil
import time
import urllib.request

import orjson

from bench.client import Target
from bench.peers import OPEN_WEBUI
from bench.processes import BENCH_DIR, ProcessFailed
from bench.subjects import Server

READY_SECONDS = 240.0
PERSON = {"name": "Bench", "email": "owner@bench.test", "password": "bench loopback only"}


class OpenWebUISubject(Server):
    """One process on empty data of its own (SQLite), asked at /api/chat/completions with a person's token.

    It passes the vendor's bytes through once it has looked up person, model and settings.
    """

    name = "openwebui"
    ready_path = "/health"
    ready_seconds = READY_SECONDS

    def __init__(self, vendor_url: str) -> None:
        super().__init__()
        self._vendor_url = vendor_url
        self._data = BENCH_DIR / "openwebui-data"

    def command(self) -> list[str]:
        """Its own command line."""
        return [str(OPEN_WEBUI.program), "serve", "--host", "127.0.0.1", "--port", str(self.port)]

    def variables(self) -> dict[str, str]:
        """Where to; nothing fetched, no telemetry, no models of its own."""
        return {
            "DATA_DIR": str(self._data),
            "HOME": str(self._data / "home"),
            "OPENAI_API_BASE_URL": self._vendor_url,
            "OPENAI_API_KEY": "none",
            "ENABLE_OLLAMA_API": "False",
            "RAG_EMBEDDING_ENGINE": "openai",
            "OFFLINE_MODE": "True",
            "HF_HUB_OFFLINE": "1",
            "ENABLE_VERSION_UPDATE_CHECK": "False",
            "WEBUI_SECRET_KEY": "bench",
            "GLOBAL_LOG_LEVEL": "WARNING",
            "ANONYMIZED_TELEMETRY": "False",
            "DO_NOT_TRACK": "1",
        }

    def start(self) -> None:
        """Start it on empty data and sign its first person up. Raises ProcessFailed."""
        shutil.rmtree(self._data, ignore_errors=True)
        (self._data / "home").mkdir(parents=True)
        super().start()
        try:
            token = self._sign_up()
            self.target = Target(f"http://127.0.0.1:{self.port}/api", token)
            self._ask("/api/models", token)  # it knows models only once somebody has asked for them
        except (OSError, ValueError, KeyError) as error:
            self.stop()
            raise ProcessFailed(f"Open WebUI let nobody sign up: {error}") from error

    def _sign_up(self) -> str:
        deadline = time.monotonic() + 20
        while True:
            try:
                return str(orjson.loads(self._ask("/api/v1/auths/signup", body=orjson.dumps(PERSON)))["token"])
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def _ask(self, path: str, token: str = "", body: bytes | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=20) as answer:
            return bytes(answer.read())
