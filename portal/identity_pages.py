"""The pages of sign-in providers: a tenant's own, and what is connected to a person."""

from __future__ import annotations

import re
import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import identities as people
from accounts import identity_providers, oidc_wire, profile
from accounts.identity_providers import JOIN_ROLES, callback_address, platform_providers, provider_here, providers_here
from accounts.models import IdentityProvider, User
from accounts.policies import ADMIN_SETTINGS
from accounts.sign_in import MAX_PASSWORD
from core.errors import PaasError
from core.sentences import sentence
from portal.access import actor_of, beside, page
from portal.members import ROLES
from portal.oidc import ask_to_connect, identities_page
from portal.profile import own_page

HERE = "/settings/sign-in/"


class ProviderForm(forms.Form):
    """A tenant's provider. The stored secret is never shown; an empty field keeps it."""

    name = forms.CharField(label=_("Name"), max_length=60, help_text=_("On the button: Sign in with …"))
    issuer = forms.CharField(
        label=_("Issuer"),
        max_length=300,
        help_text=_("The address that the provider calls its issuer, such as https://login.example.com/realms/acme."),
        widget=forms.URLInput(attrs={"spellcheck": "false"}),
    )
    client_id = forms.CharField(
        label=_("Client id"), max_length=300, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    client_secret = forms.CharField(
        label=_("Client secret"),
        max_length=1000,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    email_domains = forms.CharField(
        label=_("E-mail domains"),
        max_length=5000,
        required=False,
        help_text=_("Only people with verified addresses of these domains; separate several by commas. Empty: any."),
    )
    join_role = forms.ChoiceField(
        label=_("Who is new"),
        required=False,
        choices=[("", _("needs an invitation")), *((role, name) for role, name in ROLES if role in JOIN_ROLES)],
        help_text=_("With a role, whoever the provider knows joins by signing in."),
    )
    enabled = forms.BooleanField(label=_("Offered on the sign-in page"), required=False, initial=True)

    def clean_email_domains(self) -> list[str]:
        return [word for word in re.split(r"[\s,;，；、]+", self.cleaned_data["email_domains"]) if word]

    def refuse(self, error: ValidationError) -> None:
        """Show what the service found wrong, each in its field."""
        for name, errors in error.message_dict.items():
            for text in errors:
                self.add_error(name if name in self.fields else None, text)


@require_GET
@page(ADMIN_SETTINGS)
def providers(request: HttpRequest) -> HttpResponse:
    """`/settings/sign-in/`: the tenant's providers, and the platform's."""
    shown = {
        "page_name": "sign-in",
        "own": [(row, dict(ROLES).get(row.join_role)) for row in identity_providers.own_providers()],
        "platform": [one.name for one in platform_providers()],
        "redirect_uri": callback_address(str(actor_of(request).tenant.id)),
    }
    return render(request, "portal/identity_providers.html", shown)


@require_http_methods(["GET", "POST"])
@page(ADMIN_SETTINGS)
def add(request: HttpRequest) -> HttpResponse:
    """`/settings/sign-in/new/`"""
    if request.method == "GET":
        return _form_page(request, ProviderForm())
    form = ProviderForm(request.POST)
    if form.is_valid():
        try:
            row = identity_providers.provider_create(actor=actor_of(request), **form.cleaned_data)
        except ValidationError as error:
            form.refuse(error)
        else:
            messages.success(request, gettext("The provider was added. Test it, then sign out and sign in with it."))
            return HttpResponseRedirect(f"{HERE}{row.id}/")
    return _form_page(request, form, status=400)


@require_http_methods(["GET", "POST"])
@page(ADMIN_SETTINGS)
def edit(request: HttpRequest, provider_id: uuid.UUID) -> HttpResponse:
    """`/settings/sign-in/<id>/`: change it, or with `remove` remove it."""
    row = identity_providers.own_provider(provider_id)
    if request.method == "GET":
        return _form_page(request, ProviderForm(initial=_initial(row)), row)
    if "remove" in request.POST:
        identity_providers.provider_delete(row=row, actor=actor_of(request))
        messages.success(request, gettext("The provider was removed."))
        return HttpResponseRedirect(HERE)
    form = ProviderForm(request.POST)
    if form.is_valid():
        try:
            identity_providers.provider_update(row=row, actor=actor_of(request), **form.cleaned_data)
        except ValidationError as error:
            form.refuse(error)
        else:
            messages.success(request, gettext("The provider was changed."))
            return HttpResponseRedirect(f"{HERE}{row.id}/")
    return _form_page(request, form, identity_providers.own_provider(provider_id), status=400)


def _initial(row: IdentityProvider) -> dict[str, Any]:
    kept = {name: getattr(row, name) for name in ("name", "issuer", "client_id", "join_role", "enabled")}
    return {**kept, "email_domains": ", ".join(row.email_domains)}


def _form_page(
    request: HttpRequest, form: ProviderForm, row: IdentityProvider | None = None, status: int = 200
) -> HttpResponse:
    shown = {
        "page_name": "sign-in",
        "form": form,
        "row": row,
        "redirect_uri": callback_address(str(actor_of(request).tenant.id)),
    }
    return render(request, "portal/identity_provider.html", shown, status=status)


@require_POST
async def test(request: HttpRequest, provider_id: uuid.UUID) -> HttpResponse:
    """`/settings/sign-in/<id>/test/`: read what the provider publishes, and say what is wrong with it."""
    found: list[identity_providers.Provider] = []

    @page(ADMIN_SETTINGS)
    def look(request: HttpRequest) -> HttpResponse:
        found.append(identity_providers.value_of(identity_providers.own_provider(provider_id)))
        return HttpResponseRedirect(f"{HERE}{provider_id}/")

    answer = await beside(look, request)
    if found:
        if said := await _tested(found[0]):
            await beside(messages.error, request, said)
        else:
            good = gettext("The provider answers as it should. Whether it knows the client shows at the first sign-in.")
            await beside(messages.success, request, good)
    return answer


async def _tested(provider: identity_providers.Provider) -> str:
    """What is wrong, or ""."""
    try:
        async with oidc_wire.patience():
            await oidc_wire.examine(provider)
    except PaasError as error:
        told = ", ".join(f"{name}: {value}" for name, value in error.details.items())
        return f"{sentence(error)} ({told})" if told else sentence(error)
    return ""


# --- what is connected to a person ---------------------------------------------------------------------


@own_page
@require_http_methods(["GET", "POST"])
def identities(request: Any) -> HttpResponse:
    """`/profile/identities/` and `/accounts/profile/identities/`: connect and disconnect. Each asks for the password.

    Whoever has none cannot: a tenant's provider alone could have let them in, and what is connected of the platform's
    opens every tenant of the person.
    """
    user = profile.person_of(request.user.pk)
    if request.method == "GET" or not {"connect", "disconnect"} & request.POST.keys():  # Enter chooses nothing
        return _identities_page(request, user)
    if not user.has_usable_password():
        return _identities_page(request, user, status=403)
    try:
        profile.password_check(user, request.POST.get("password", "")[:MAX_PASSWORD])
    except ValidationError as error:
        return _identities_page(request, user, problem=error.messages[0], status=400)
    return _changed(request, user)


def _changed(request: Any, user: User) -> HttpResponse:
    if "disconnect" in request.POST:
        number = str(request.POST["disconnect"])
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            raise PaasError("not_found")
        people.identity_disconnect(user=user, identity_id=int(number))
        messages.success(request, gettext("It was disconnected."))
        return HttpResponseRedirect(identities_page(request))
    provider = provider_here(str(request.POST.get("connect", "")))
    # A page that leads on, not a redirection: a form's answer may not lead to another site (form-action).
    shown = {"name": provider.name, "address": ask_to_connect(request, provider)}
    return render(request, "portal/identity_go.html", shown)


def _identities_page(request: Any, user: User, *, problem: str = "", status: int = 200) -> HttpResponse:
    connected, offered = people.identities_of(user), providers_here()
    realms = {one.provider for one in connected}
    shown = {
        "page_name": "identities",
        "layout": "portal/page.html" if request.tenant else "portal/platform_page.html",
        "connected": connected,
        "offered": [one for one in offered if one.realm not in realms],
        "has_password": user.has_usable_password(),
        "problem": problem,
    }
    return render(request, "portal/identities.html", shown, status=status)
