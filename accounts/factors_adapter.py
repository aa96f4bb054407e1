"""How allauth keeps secrets of second factors: encrypted under FIELD_KEYS, newest first."""

from __future__ import annotations

from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings

from core import crypto


class FactorsAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no types
    """allauth's hooks for seeds of codes. People are the platform's, so the key is no tenant's."""

    def encrypt(self, text: str) -> str:
        return crypto.wrap(settings.FIELD_KEYS, text)

    def decrypt(self, encrypted_text: str) -> str:
        return crypto.unwrap(settings.FIELD_KEYS, encrypted_text)

    def get_totp_issuer(self) -> str:
        return f"Agent PaaS ({settings.BASE_DOMAIN})"
