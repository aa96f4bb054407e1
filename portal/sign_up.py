"""Sign-up on the platform host: ask for a workspace, open the link in the mail, watch the workspace being made."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from accounts import sign_up, tenant_life
from accounts.models import SignUp
from accounts.sign_in import session_begin
from core.errors import PaasError
from portal.access import refused
from tenants import client, naming, provisioning, ratelimit, resolve
from tenants.models import Tenant

View = Callable[..., HttpResponse]
# The door of a workspace for who is signed in on the platform.
WAY_IN = "/login/platform/?next=/chat/"


def answered(view: View) -> View:
    """A page of the platform host whose PaasErrors become pages; nothing in between keeps it."""

    @wraps(view)
    def inside(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except PaasError as error:
            return refused(request, error)

    return never_cache(inside)


class SlugForm(forms.Form):
    """The address of a workspace; capital letters count as small ones."""

    slug = forms.CharField(
        label=_("Address"),
        max_length=60,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false", "data-slug": "/signup/slug/"}
        ),
    )

    def clean_slug(self) -> str:
        return str(self.cleaned_data["slug"]).lower()

    def refuse(self, error: ValidationError) -> None:
        """Show what the service found wrong, beside its field where the form has it."""
        for name, errors in error.error_dict.items() if hasattr(error, "error_dict") else [("password", error)]:
            self.add_error(name if name in self.fields else None, errors)


class RequestForm(SlugForm):
    """What a sign-up asks first."""

    email = forms.EmailField(
        label=_("Your e-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email", "autofocus": True}),
    )
    tenant_name = forms.CharField(
        label=_("Name of the workspace"),
        max_length=120,
        widget=forms.TextInput(attrs={"autocomplete": "organization", "data-slug-source": True}),
    )
    field_order = ("email", "tenant_name", "slug")


class PersonForm(SlugForm):
    """What is asked behind the link of somebody new."""

    name = forms.CharField(
        label=_("Your name"), max_length=120, widget=forms.TextInput(attrs={"autocomplete": "name", "autofocus": True})
    )
    password = forms.CharField(
        label=_("Choose a password"),
        help_text=_("At least 10 characters."),
        max_length=1024,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    field_order = ("name", "password", "slug")


@answered
@require_http_methods(["GET", "POST"])
def ask(request: HttpRequest) -> HttpResponse:
    """`/signup/`: the form, and the same answer for every address (A18)."""
    sign_up.check_open()
    if request.method == "GET":
        return _ask_page(request, RequestForm())
    form = RequestForm(_with_choice(request))
    if not form.is_valid():
        return _ask_page(request, form)
    values = form.cleaned_data
    try:
        sign_up.sign_up_request(
            email=values["email"],
            tenant_name=values["tenant_name"],
            slug=values["slug"],
            language=get_language() or "",
        )
    except ValidationError as error:
        form.refuse(error)
        return _ask_page(request, form)
    return render(request, "portal/sign_up_sent.html", {"email": values["email"]})


def _with_choice(request: HttpRequest) -> Any:
    """The form's data; a button with a suggested address stands for that address."""
    data = request.POST.copy()
    if data.get("choice"):
        data["slug"] = str(data["choice"])
    return data


def _ask_page(request: HttpRequest, form: RequestForm) -> HttpResponse:
    shown = {"form": form, "suggestions": _suggestions(form), "host": resolve.host_suffix()}
    return render(request, "portal/sign_up.html", shown, status=400 if form.errors else 200)


def _suggestions(form: SlugForm) -> list[str]:
    return naming.suggestions(str(form.data.get("slug", "")).lower()) if "slug" in form.errors else []


@never_cache
@require_GET
def slug(request: HttpRequest) -> HttpResponse:
    """`/signup/slug/?slug=` or `?name=`: whether an address is free, for the script of the form.

    Answers {slug, free, message, suggestions}.
    """
    try:
        sign_up.check_open()
        party = client.network_of(client.current().address)
        ratelimit.check(ratelimit.Limit(f"slug:{party}", 120, 60.0), fail_closed=True)
    except PaasError as error:
        return JsonResponse(error.as_native(), status=error.status, headers=error.headers())
    asked = request.GET.get("slug", "").lower()[:60] or naming.from_title(request.GET.get("name", "")[:120])
    problem = naming.problem_with(asked) if asked else "form"
    return JsonResponse(
        {
            "slug": asked,
            "free": not problem,
            "message": str(naming.MESSAGES[problem]) if problem else "",
            "suggestions": naming.suggestions(asked) if problem else [],
        }
    )


@answered
@require_http_methods(["GET", "POST"])
def link(request: HttpRequest, token: str) -> HttpResponse:
    """`/signup/<token>/`: confirm (a GET changes nothing: programs open links in mails too), then watch."""
    signup = sign_up.sign_up_of(token)
    if signup.verified_at is not None:
        return _progress_page(request, signup)
    sign_up.check_open()
    if sign_up.is_known(signup.email):
        return _known(request, signup, token)
    return _new(request, signup, token)


def _new(request: HttpRequest, signup: SignUp, token: str) -> HttpResponse:
    if request.method == "GET":
        return _link_page(request, "new", PersonForm(initial={"slug": signup.slug}), signup)
    form = PersonForm(_with_choice(request))
    if not form.is_valid():
        return _link_page(request, "new", form, signup)
    values = form.cleaned_data
    try:
        user = sign_up.sign_up_confirm_new(
            token=token, name=values["name"], password=values["password"], slug=values["slug"]
        )
    except ValidationError as error:
        form.refuse(error)
        return _link_page(request, "new", form, signup)
    # The password was chosen a moment ago, behind the link: nobody needs to type it again on the way in.
    session_begin(request, user, method="sign-up")
    return redirect(request.path)


def _known(request: Any, signup: SignUp, token: str) -> HttpResponse:
    if not request.user.is_authenticated or request.user.email != signup.email:
        return render(request, "portal/sign_up_sign_in.html", {"signup": signup, "next": request.path})
    if request.method == "GET":
        return _link_page(request, "known", SlugForm(initial={"slug": signup.slug}), signup)
    form = SlugForm(_with_choice(request))
    if not form.is_valid():
        return _link_page(request, "known", form, signup)
    try:
        sign_up.sign_up_confirm_known(token=token, user=request.user, slug=form.cleaned_data["slug"])
    except ValidationError as error:
        form.refuse(error)
        return _link_page(request, "known", form, signup)
    return redirect(request.path)


def _link_page(request: HttpRequest, who: str, form: SlugForm, signup: SignUp) -> HttpResponse:
    shown = {
        "form": form,
        "signup": signup,
        "who": who,
        "suggestions": _suggestions(form),
        "host": resolve.host_suffix(),
    }
    return render(request, "portal/sign_up_confirm.html", shown, status=400 if form.errors else 200)


def _progress_page(request: HttpRequest, signup: SignUp) -> HttpResponse:
    tenant = signup.tenant
    if tenant is None or tenant.status in (Tenant.Status.DELETING, Tenant.Status.DELETED):
        raise PaasError("link_invalid")
    ready = tenant.status != Tenant.Status.CREATING
    shown = {
        "tenant": tenant,
        "percent": provisioning.progress_of(tenant),
        "ready": ready,
        "delayed": bool(tenant.failure) and not ready,
        "way_in": resolve.tenant_url(tenant.slug) + WAY_IN,
        "address": resolve.tenant_url(tenant.slug),
    }
    return render(request, "portal/sign_up_progress.html", shown)


# --- a deleted workspace -------------------------------------------------------------------------------


@answered
@require_http_methods(["GET", "POST"])
def restore(request: HttpRequest, code: str) -> HttpResponse:
    """`/restore/<code>/`, the link in the letter to the owners: how long there is, and the way back."""
    if request.method == "POST":
        tenant = tenant_life.tenant_restore_by_code(code=code)
        shown = {"tenant": tenant, "restored": True, "address": resolve.tenant_url(tenant.slug)}
        return render(request, "portal/restore.html", shown)
    return render(request, "portal/restore.html", {"tenant": tenant_life.deleted_by_code(code)})
