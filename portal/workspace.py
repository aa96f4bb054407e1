"""A workspace's own settings: its name, how it looks, its address, what it asks of its people, and its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import branding, tenant_life
from accounts.policies import ADMIN_OWNER, ADMIN_SETTINGS
from agents.counts import counted
from core.errors import PaasError
from core.sentences import sentence
from portal.access import actor_of, page
from portal.sign_up import SlugForm
from tenants import limits, resolve
from tenants.models import Tenant, color_validator
from tenants.selectors import own_tenant
from usage.standings import Standing, standings_of

PLACE = "/settings/workspace/"
DEFAULT_COLOR = "#0f6b62"


class Settings(forms.Form):
    """A form of the page; `act` does what it asks for and says so, or answers with a page of its own."""

    action = ADMIN_SETTINGS
    said: Any = ""

    def refuse(self, error: ValidationError) -> None:
        """Show what the service found wrong, beside its field where the form has it."""
        for name, errors in error.error_dict.items() if hasattr(error, "error_dict") else [(None, error)]:
            self.add_error(name if name in self.fields else None, errors)


class LookForm(Settings):
    """Name and colour."""

    said = _("Saved.")
    name = forms.CharField(
        label=_("Name"), max_length=120, widget=forms.TextInput(attrs={"autocomplete": "organization"})
    )
    own_color = forms.BooleanField(label=_("A colour of our own"), required=False)
    color = forms.CharField(
        label=_("Colour"),
        max_length=7,
        required=False,
        help_text=_("Of buttons and links. It is made lighter or darker where text could not be read otherwise."),
        widget=forms.TextInput(attrs={"type": "color"}),
    )

    def clean_color(self) -> str:
        if not self.cleaned_data.get("own_color"):
            return ""
        color = str(self.cleaned_data["color"]).lower()
        try:
            color_validator(color)
        except ValidationError:
            raise ValidationError(_("Write a colour as #rrggbb.")) from None
        return color

    def act(self, request: Any, tenant: Tenant) -> HttpResponse | None:
        fields = {"name": self.cleaned_data["name"], "color": self.cleaned_data["color"]}
        tenant_life.tenant_update(tenant=tenant, actor=actor_of(request).label, **fields)
        return None


class LogoForm(Settings):
    """A picture, or none."""

    said = _("Saved.")
    logo = forms.FileField(
        label=_("Logo"),
        required=False,
        help_text=_("PNG, JPEG or WebP of at most 512 KB. Best is a square."),
        widget=forms.FileInput(attrs={"accept": "image/png,image/jpeg,image/webp"}),
    )
    remove = forms.BooleanField(required=False, widget=forms.HiddenInput)

    def act(self, request: Any, tenant: Tenant) -> HttpResponse | None:
        label = actor_of(request).label
        if self.cleaned_data["remove"]:
            branding.logo_remove(tenant=tenant.ref(), actor=label)
            return None
        sent = self.cleaned_data["logo"]
        if sent is None:
            raise ValidationError({"logo": ValidationError(_("Choose a file."))})
        data = sent.read(branding.MOST_BYTES + 1)
        branding.logo_set(tenant=tenant.ref(), data=data, actor=label)
        return None


class AddressForm(SlugForm, Settings):
    """Another address. The page answers by itself: this host has just become a former one."""

    action = ADMIN_OWNER

    def act(self, request: Any, tenant: Tenant) -> HttpResponse | None:
        slug = self.cleaned_data["slug"]
        if not tenant_life.tenant_move(tenant=tenant, slug=slug, actor=actor_of(request).label):
            return None
        shown = {"page_name": "workspace", "moved": True, "address": resolve.tenant_url(slug)}
        return render(request, "portal/workspace_gone.html", shown)


class SecurityForm(Settings):
    """What the workspace asks of its people."""

    said = _("Saved.")
    require_mfa = forms.BooleanField(label=_("Everybody needs a second factor"), required=False)

    def act(self, request: Any, tenant: Tenant) -> HttpResponse | None:
        wanted = self.cleaned_data["require_mfa"]
        tenant_life.tenant_update(tenant=tenant, actor=actor_of(request).label, require_mfa=wanted)
        return None


class DeleteForm(Settings):
    """The end, confirmed by typing the address."""

    action = ADMIN_OWNER
    confirm = forms.CharField(
        label=_("Type the address of the workspace to confirm"),
        max_length=60,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )

    def act(self, request: Any, tenant: Tenant) -> HttpResponse | None:
        if self.cleaned_data["confirm"].strip().lower() != tenant.slug:
            raise ValidationError({"confirm": ValidationError(_("This is not the address of this workspace."))})
        tenant_life.tenant_delete(tenant=tenant, actor=actor_of(request).label)
        shown = {"page_name": "workspace", "until": tenant.delete_after, "address": resolve.platform_url()}
        return render(request, "portal/workspace_gone.html", shown)


FORMS: dict[str, Callable[..., Any]] = {
    "look": LookForm, "logo": LogoForm, "address": AddressForm, "security": SecurityForm, "delete": DeleteForm
}  # fmt: skip


@never_cache
@require_http_methods(["GET", "POST"])
@page(ADMIN_SETTINGS)
def workspace(request: HttpRequest) -> HttpResponse:
    """`/settings/workspace/`: several forms; the field `what` says which of them is sent."""
    tenant = own_tenant()
    if request.method == "GET":
        return _page(request, tenant)
    what = request.POST.get("what", "")
    if what not in FORMS:
        raise PaasError("validation_failed")
    form = FORMS[what](request.POST, request.FILES)
    actor_of(request).require(form.action)
    if not form.is_valid():
        return _page(request, tenant, {what: form})
    try:
        answer: HttpResponse | None = form.act(request, tenant)
    except ValidationError as error:
        form.refuse(error)
        return _page(request, tenant, {what: form})
    except PaasError as error:
        form.add_error(None, sentence(error))
        return _page(request, tenant, {what: form})
    if answer is not None:
        return answer
    if form.said:
        messages.success(request, form.said)
    return redirect(PLACE)


def _page(request: HttpRequest, tenant: Tenant, sent: dict[str, Any] | None = None) -> HttpResponse:
    shown: dict[str, Any] = {
        "look": LookForm(
            initial={"name": tenant.name, "own_color": bool(tenant.color), "color": tenant.color or DEFAULT_COLOR}
        ),
        "logo": LogoForm(),
        "address": AddressForm(initial={"slug": tenant.slug}),
        "security": SecurityForm(initial={"require_mfa": tenant.require_mfa}),
        "delete": DeleteForm(),
        **(sent or {}),
    }
    context = {
        "page_name": "workspace",
        "tenant": tenant,
        "host": resolve.host_suffix(),
        "owner": ADMIN_OWNER in actor_of(request).actions,
        "grace": settings.DELETION_GRACE_DAYS,
        "used": _used(tenant),
        **shown,
    }
    return render(request, "portal/workspace.html", context, status=400 if sent else 200)


@dataclass(frozen=True, slots=True)
class Used:
    """A limit of the plan. allowed None: there is none; used None: it is not counted here."""

    label: str
    used: str | None
    allowed: str | None


def _used(tenant: Tenant) -> list[Used]:
    over_time = {(one.metric, one.period): one for one in standings_of(tenant.id, [tenant.id])}
    there = counted()
    allowed = limits.allowances()
    sessions, tokens = over_time.get(("sessions", "day")), over_time.get(("tokens", "month"))
    return [
        Used(gettext("Members"), _number(there["users"]), _number(allowed.of("users"))),
        Used(gettext("Agents"), _number(there["agents"]), _number(allowed.of("agents"))),
        Used(gettext("New conversations a day"), *_counted(sessions)),
        Used(gettext("Tokens a month"), *_counted(tokens)),
        Used(gettext("Documents"), _number(there["documents"]), _number(allowed.of("documents"))),
        Used(gettext("Pages of documents"), _number(there["pages"]), _number(allowed.of("pages"))),
        Used(gettext("Storage"), _bytes(limits.stored_bytes()), _bytes(allowed.of("storage_bytes"))),
    ]


def _counted(found: Standing | None) -> tuple[str | None, str | None]:
    return (None, None) if found is None else (found.said(found.used), found.said(found.limit))


def _number(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _bytes(value: int | None) -> str | None:
    if value is None:
        return None
    return f"{value / 1e9:,.1f} GB" if value >= 1e9 else f"{value / 1e6:,.1f} MB"
