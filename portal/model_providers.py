"""The pages of model providers: which vendors a workspace has an account with, and whether its key works."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import ProtectedError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_http_methods

from accounts.policies import ADMIN_SETTINGS
from agents.mentions import agents_asking, models_asked
from core.errors import PaasError
from core.sentences import sentence
from llm import selectors, services
from llm.breaker import seconds_left_alone
from llm.catalog import known_models
from llm.models import MAX_NAME, ProviderAccount
from llm.registry import NAMES
from portal.access import actor_of, page

HERE = "/settings/providers/"
# In the order in which people look for them; the scripted model is for tests.
OFFERED = tuple(kind for kind in NAMES if kind != "scripted")
OWN_WORDS = {
    "openai_compatible": _("Another vendor or server that speaks OpenAI's protocol"),
    "local": _("The model that comes with the platform"),
}
FOUND = {
    "provider_auth_failed": _("The vendor does not accept this API key. Copy it again, or make a new one there."),
    "provider_rate_limited": _("The vendor knows the key but refuses calls for now: too many, or no credit is left."),
    "model_not_found": _("The vendor does not have this model, or this key may not use it. Choose another model."),
    "provider_timeout": _("The vendor did not answer in time. Check the address, or try again later."),
    "provider_unavailable": _("The vendor cannot be reached or has failed. Check the address, or try again later."),
}


class ProviderForm(forms.Form):
    """An account with a vendor. The stored key is never shown; an empty field keeps it."""

    kind = forms.ChoiceField(label=_("Vendor"), choices=[(kind, OWN_WORDS.get(kind, NAMES[kind])) for kind in OFFERED])
    name = forms.CharField(label=_("Name"), max_length=MAX_NAME, help_text=_("As people here call this account."))
    api_key = forms.CharField(
        label=_("API key"),
        max_length=4000,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    base_url = forms.CharField(
        label=_("Address"),
        max_length=500,
        required=False,
        help_text=_("Empty: the vendor's own. Else its base URL, such as https://api.example.com/v1."),
        widget=forms.URLInput(attrs={"spellcheck": "false"}),
    )
    model = forms.CharField(
        label=_("Model to test with"),
        max_length=120,
        required=False,
        help_text=_("Empty: a small one of the vendor. The test costs a few tokens of your account."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    allowed_models = forms.CharField(
        label=_("Models that agents may ask"),
        required=False,
        max_length=60_000,
        help_text=_("One a line. Empty: all of the vendor's."),
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "class": "mono"}),
    )
    enabled = forms.BooleanField(label=_("In use"), required=False, initial=True)

    def clean_allowed_models(self) -> list[str]:
        lines = (line.strip() for line in self.cleaned_data["allowed_models"].splitlines())
        return list(dict.fromkeys(line for line in lines if line))

    def values(self) -> Any:
        """The fields of the account; a key only when one was entered."""
        given = {name: value for name, value in self.cleaned_data.items() if name != "model"}
        if not given["api_key"]:
            del given["api_key"]
        return given

    def refuse(self, error: ValidationError) -> None:
        """Show what the service found wrong, each in its field."""
        for name, errors in error.message_dict.items():
            for text in errors:
                self.add_error(name if name in self.fields else None, text)


@require_GET
@page(ADMIN_SETTINGS)
def index(request: HttpRequest) -> HttpResponse:
    """`/settings/providers/`"""
    rows = [(row, OWN_WORDS.get(row.kind, NAMES.get(row.kind, row.kind))) for row in selectors.providers()]
    return render(request, "portal/model_providers.html", {"page_name": "providers", "rows": rows})


@require_http_methods(["GET", "POST"])
@page(ADMIN_SETTINGS)
def add(request: HttpRequest) -> HttpResponse:
    """`/settings/providers/new/`"""
    form = ProviderForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            row = services.provider_create(actor=actor_of(request).label, **form.values())
        except ValidationError as error:
            form.refuse(error)
        else:
            return _saved(request, row, form)
    return _form_page(request, form)


@require_http_methods(["GET", "POST"])
@page(ADMIN_SETTINGS)
def edit(request: HttpRequest, provider_id: uuid.UUID) -> HttpResponse:
    """`/settings/providers/<id>/`: change it, test it, or with `remove` remove it."""
    row = selectors.provider_by_id(provider_id)
    if row.of_platform:
        raise PaasError(
            "permission_denied", gettext("This account is the platform's, so only its operator changes it.")
        )
    if request.method == "GET":
        kept: dict[str, Any] = {name: getattr(row, name) for name in ("kind", "name", "base_url", "enabled")}
        kept["allowed_models"] = "\n".join(row.allowed_models)
        return _form_page(request, ProviderForm(initial=kept), row)
    if "remove" in request.POST:
        return _removed(request, row)
    form = ProviderForm(request.POST)
    if form.is_valid():
        try:
            services.provider_update(row, actor=actor_of(request).label, **form.values())
        except ValidationError as error:
            form.refuse(error)
        else:
            return _saved(request, row, form)
    return _form_page(request, form, selectors.provider_by_id(provider_id))


def _saved(request: HttpRequest, row: ProviderAccount, form: ProviderForm) -> HttpResponse:
    messages.success(request, gettext("%(name)s was saved.") % {"name": row.name})
    if "test" in request.POST:
        _test(request, row, form.cleaned_data["model"])
    return HttpResponseRedirect(f"{HERE}{row.id}/")


def _test(request: HttpRequest, row: ProviderAccount, model: str) -> None:
    try:
        found = services.provider_test(actor=actor_of(request).label, account=row, model=model)
    except ValidationError:
        messages.error(request, gettext("Name a model of this vendor to test with."))
        return
    except PaasError as error:
        messages.error(request, sentence(error))
        return
    if found.ok:
        said = gettext("The key works: %(model)s answered in %(seconds)s s.")
        messages.success(request, said % {"model": found.model, "seconds": f"{found.milliseconds / 1000:.1f}"})
        return
    said = str(FOUND.get(found.code, "")) or sentence(PaasError(found.code))
    if found.provider_message:
        said = gettext("%(what)s The vendor says: %(said)s") % {"what": said, "said": found.provider_message}
    messages.error(request, said)


def _removed(request: HttpRequest, row: ProviderAccount) -> HttpResponse:
    try:
        services.provider_delete(row, actor=actor_of(request).label)
    except ProtectedError:
        messages.error(
            request, gettext("Versions of agents use this provider, and they are kept. Switch it off instead.")
        )
        return HttpResponseRedirect(f"{HERE}{row.id}/")
    messages.success(request, gettext("The provider was removed."))
    return HttpResponseRedirect(HERE)


def _form_page(request: HttpRequest, form: ProviderForm, row: ProviderAccount | None = None) -> HttpResponse:
    shown: dict[str, Any] = {"page_name": "providers", "form": form, "row": row}
    if row is not None:
        asked = sorted(models_asked(row.pk) | set(row.allowed_models))
        waits = [(model, seconds_left_alone(row.pk, row.updated_at, model)) for model in asked]
        shown |= {
            "mentions": agents_asking(row.pk),
            "models": known_models(row.kind),
            "left_alone": [(model, seconds) for model, seconds in waits if seconds],
        }
    return render(request, "portal/model_provider.html", shown, status=400 if form.errors else 200)
