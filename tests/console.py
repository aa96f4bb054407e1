"""The operator's browser, without sockets: for what is asked of the console's pages and not of the server."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from accounts.models import User
from tenants import scope
from tests.conftest import PASSWORD, Platform
from tests.site import session_cookies

EMAIL = "operator@platform.test"


class Console:
    """The operator's browser."""

    def __init__(self, *, superuser: bool = True) -> None:
        from django.test import Client

        with scope.platform():
            make = User.objects.create_superuser if superuser else User.objects.create_user
            self.user = make(EMAIL, PASSWORD, **({} if superuser else {"is_staff": True}))
        self.client = Client(HTTP_HOST="localhost")
        self.client.cookies.load(session_cookies("", self.user.email))

    def get(self, path: str) -> Any:
        return self.client.get(f"{path.removesuffix('/')}/")

    def post(self, path: str, **fields: Any) -> Any:
        return self.client.post(f"{path.removesuffix('/')}/", fields)

    def said(self, path: str) -> str:
        """The words of a page."""
        answer = self.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        return words_of(answer.content.decode())


def words_of(page: str) -> str:
    """What a page's content says, without its markup."""
    content = re.sub(r"(?s)<(script|style)\b.*?</\1>", " ", page[page.find('<div id="main"') :])
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", content).split()))


@pytest.fixture
def console(db: Platform) -> Console:
    with scope.platform():
        return Console()
