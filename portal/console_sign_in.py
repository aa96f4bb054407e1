"""`/admin/login/`: operators sign in to the console as everybody does, second factor included (A16)."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from unfold.forms import AuthenticationForm

from accounts import sign_in
from core.errors import PaasError
from portal.access import sentence

CONSOLE = "/admin/"


class ConsoleForm(AuthenticationForm):  # type: ignore[misc]  # unfold has no types
    """Unfold's form over the one way to check a password."""

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = self.cleaned_data
        if given.get("username") and given.get("password"):
            try:
                self.user_cache = sign_in.person_with_password(email=given["username"], password=given["password"])
            except PaasError as error:
                raise ValidationError(sentence(error), code=error.code) from None
            self.confirm_login_allowed(self.user_cache)
        return given


class ConsoleSignIn(LoginView):
    """The console's page; whoever has a second factor is asked for it next."""

    template_name = "admin/login.html"
    authentication_form = ConsoleForm
    next_page = CONSOLE

    def form_valid(self, form: Any) -> HttpResponse:
        following = self.get_success_url()
        return HttpResponseRedirect(
            sign_in.advance(self.request, form.get_user(), method="password", following=following)
        )

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        here: Any = self.request
        context = {**admin.site.each_context(here), "title": _("Log in"), "app_path": here.get_full_path()}
        return {**super().get_context_data(**kwargs), **context, "username": here.user.get_username()}


@never_cache
def console(request: HttpRequest) -> HttpResponseBase:
    """The page, unless an operator is here already."""
    if request.method == "GET" and admin.site.has_permission(request):
        return HttpResponseRedirect(CONSOLE)
    request.current_app = admin.site.name
    return ConsoleSignIn.as_view()(request)
