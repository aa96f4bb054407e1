"""Mail, sent by the worker: enqueued with the caller's transaction, sealed until then, tried again when the server is
away. A mail server that hangs holds up no page (A45)."""

from __future__ import annotations

import json
import re
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.template import Context
from django.template.loader import get_template
from django.utils import translation

from core import crypto
from tenants import jobs

JOB = "mail.send"

# A workspace's name is free text of its owner's, and letters speak for the platform: no addresses in it.
PLAIN_NAME = re.compile(r"^[^./:@\\<>]{1,80}\Z")


def plain_name(name: str, slug: str) -> str:
    """What letters to others than its owners call a workspace."""
    return name if PLAIN_NAME.match(name) else slug


def send(template: str, *, to: str, language: str = "", **context: Any) -> None:
    """Send `templates/mail/<template>.txt` to an address, in its language (default: that of the request).

    The template's first line is the subject.
    """
    with translation.override(language or translation.get_language() or settings.LANGUAGE_CODE):
        text = get_template(f"mail/{template}.txt").template.render(Context(context, autoescape=False))  # type: ignore[attr-defined]
        subject, _, body = text.strip().partition("\n")
    letter = {"to": to, "subject": " ".join(subject.split()), "body": body.strip() + "\n"}
    # Links in mails are credentials: sealed, they lie in no job row in the clear.
    jobs.enqueue_platform(JOB, sealed=crypto.wrap(settings.FIELD_KEYS, json.dumps(letter)))


@jobs.platform_job(JOB, retries=8)
async def deliver(sealed: str) -> None:
    """Send one letter."""
    import asyncio

    letter = json.loads(crypto.unwrap(settings.FIELD_KEYS, sealed))
    message = EmailMessage(letter["subject"], letter["body"], settings.DEFAULT_FROM_EMAIL, [letter["to"]])
    await asyncio.to_thread(message.send)
