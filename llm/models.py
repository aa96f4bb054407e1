"""The accounts with which a tenant reaches its model vendors."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from core.ids import uuid7
from llm import catalog
from llm.registry import KEYED, NAMES, PROVIDERS
from tenants.fields import EncryptedTextField

MAX_MODELS = 500
MAX_NAME = 60  # as the books keep it (usage.models.Reservation)


def kind_choices() -> list[tuple[str, str]]:
    """The provider kinds; a function, so that a new kind is no migration."""
    return [(kind, NAMES.get(kind, kind)) for kind in PROVIDERS]


class ProviderAccount(models.Model):
    """A tenant's account with a model vendor. Make and change it with llm.services."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(
        max_length=80,
        unique=True,
        validators=[RegexValidator(r"^\S(.*\S)?$", _("The name must not begin or end with a space."))],
    )
    kind = models.CharField(max_length=40, choices=kind_choices)
    base_url = models.CharField(
        "base URL",
        max_length=500,
        blank=True,
        help_text="Such as https://api.openai.com/v1; empty: the vendor's own.",
    )
    api_key = EncryptedTextField("API key", blank=True, default="")
    allow_private = models.BooleanField(
        default=False, editable=False, help_text="The operator set the address, so it may be a private one."
    )
    of_platform = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="It stands for the operator's account with this id (llm.platform_accounts), and has no key.",
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    allowed_models = ArrayField(
        models.CharField(max_length=120),
        default=list,
        db_default=[],
        blank=True,
        help_text="The models that agents may ask; empty: all.",
    )
    # Last, because from here on `models` is this field and no longer the module.
    models = models.JSONField(
        default=dict,
        blank=True,
        help_text='Limits and prices: {"my-model": {"context_tokens": 32000, "input_price": "0.5"}}.',
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def allows(self, model: str) -> bool:
        """Whether agents may ask this model of the account."""
        return not self.allowed_models or model in self.allowed_models

    def clean(self) -> None:
        """Raises ValidationError, by field, in sentences for people."""
        errors: dict[str, Any] = {}
        if self.kind and self.kind not in PROVIDERS:
            told = {"kind": repr(self.kind), "kinds": ", ".join(PROVIDERS)}
            errors["kind"] = gettext("There is no provider of the kind %(kind)s. Choose one of: %(kinds)s.") % told
        if problem := _url_problem(self.base_url):
            errors["base_url"] = problem
        elif self.kind == "openai_compatible" and not self.base_url:
            errors["base_url"] = gettext("Enter the vendor's base URL, such as https://api.openai.com/v1.")
        if len(self.allowed_models or []) > MAX_MODELS:
            errors["allowed_models"] = gettext("At most %(limit)s models can be listed.") % {"limit": MAX_MODELS}
        if len(self.name) > MAX_NAME:
            errors["name"] = gettext("A name has at most %(limit)s characters.") % {"limit": MAX_NAME}
        if self.kind in KEYED and not self.api_key:
            errors["api_key"] = gettext("Enter the %(vendor)s API key.") % {"vendor": KEYED[self.kind]}
        if self.api_key and not (self.api_key.isascii() and self.api_key.isprintable() and " " not in self.api_key):
            errors["api_key"] = gettext("The API key has a space or a character that no key has. Copy it again.")
        if problem := _models_problem(self.models):
            errors["models"] = problem
        if errors:
            raise ValidationError(errors)


def _url_problem(url: str) -> str | None:
    """What is wrong with a base URL, or None."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return gettext("This is not a URL.")
    faults = {
        gettext("The base URL must begin with http:// or https:// and name a host."): (
            parts.scheme not in ("http", "https") or not host
        ),
        gettext("The base URL must not hold a user name or password. Use the API key."): "@" in parts.netloc,
        gettext("The base URL must not have a part after #."): bool(parts.fragment),
        gettext("The base URL has a space or an invisible character."): not url.isprintable() or " " in url,
        gettext("Leave /chat/completions away: the base URL ends before it, often with /v1."): (
            parts.path.rstrip("/").endswith("/chat/completions")
        ),
    }
    return next((sentence for sentence, applies in faults.items() if applies), None)


def _models_problem(entries: Any) -> str | None:
    """What is wrong with an account's own model infos, or None."""
    if not isinstance(entries, dict):
        return 'Expected an object such as {"my-model": {"context_tokens": 32000}}.'
    if len(entries) > MAX_MODELS:
        return f"At most {MAX_MODELS} models can be described."
    for name, entry in entries.items():
        try:
            catalog.override_fields(name, entry)
        except ValueError as error:
            return str(error)
    return None
