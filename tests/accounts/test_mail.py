"""Mail: part of the caller's transaction, sealed while it waits, and sent by the worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core import mail as django_mail
from django.db import transaction
from django.test.utils import override_settings

from accounts import mail
from tenants import scope


@pytest.fixture
def outbox(tmp_path: Path, db: Any) -> Iterator[list[Any]]:
    folder = tmp_path / "mail"
    folder.mkdir()
    (folder / "hello.txt").write_text(
        "{% load i18n %}{% translate 'Sign in' %} {{ name }}\n\n{% translate 'Password' %}: {{ link }}\n"
    )
    templates = [dict(settings.TEMPLATES[0], DIRS=[tmp_path])]
    with override_settings(TEMPLATES=templates, EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend"):
        django_mail.outbox = []
        yield django_mail.outbox


def waiting(ledger: Any = None) -> list[dict[str, Any]]:
    from procrastinate.contrib.django.models import ProcrastinateJob

    with scope.platform():
        return [job.args for job in ProcrastinateJob.objects.filter(task_name=mail.JOB)]


async def test_a_letter_is_sent_as_its_template_says(outbox: list[Any], acme: Any) -> None:
    def write() -> None:
        mail.send("hello", to="new@example.test", language="zh-hans", name="<b>& Co", link="https://x.test/?a=1&b=2")

    await scope.run_in_tenant(acme, write)
    (arguments,) = await scope.run_in_platform(waiting)
    await mail.deliver(**arguments)
    (letter,) = outbox
    assert letter.to == ["new@example.test"]
    assert letter.subject == "登录 <b>& Co"
    assert letter.body == "密码: https://x.test/?a=1&b=2\n"
    assert letter.from_email == settings.DEFAULT_FROM_EMAIL


def test_a_letter_goes_with_its_transaction(outbox: list[Any], acme: Any) -> None:
    with scope.bind(acme):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            mail.send("hello", to="new@example.test", link="https://x.test/")
            raise ZeroDivisionError
        assert waiting() == []
        with transaction.atomic():
            mail.send("hello", to="new@example.test", link="https://canary.test/secret")
        assert len(waiting()) == 1
    assert "canary" not in str(waiting())
    assert "new@example" not in str(waiting())


def test_a_name_cannot_add_a_header(outbox: list[Any], acme: Any) -> None:
    """A line break in what a person typed does not end the subject."""
    with scope.bind(acme):
        mail.send("hello", to="new@example.test", name="A\r\nBcc: all@example.test", link="")
    (arguments,) = waiting()
    import asyncio

    asyncio.run(mail.deliver(**arguments))
    (letter,) = outbox
    assert "\n" not in letter.subject
    assert letter.recipients() == ["new@example.test"]
