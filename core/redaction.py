"""Keeps bearer tokens and keys out of log lines (P41, A24)."""

from __future__ import annotations

import logging
import re

SECRETS = re.compile(
    r"\beyJ[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+|\bak_[A-Za-z0-9_\-]{6,}|\bsk-[A-Za-z0-9_\-]{6,}|(?i:\bbearer\s+)[^\s\"',]+|(?i:api[_-]?key[\"']?\s*[:=]\s*[\"']?)[^\s\"',&]+"
)


def redact(text: str) -> str:
    """`text` with everything that looks like a key replaced by `[secret]`."""
    return SECRETS.sub("[secret]", text)


class RedactSecrets(logging.Filter):
    """Rewrites a record's message and traceback before any handler formats them."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        cleaned = redact(message)
        if cleaned is not message:
            record.msg, record.args = cleaned, ()
        if record.exc_info and not record.exc_text:
            record.exc_text = redact(
                logging.Formatter().formatException(record.exc_info)
            )  # formatters take it as it is
        return True
