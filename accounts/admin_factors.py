"""Second factors in the operator's console: who has one, and the way back for somebody who lost theirs."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts import proof, second_factor
from accounts.models import User
from core.errors import PaasError
from core.sentences import sentence

WORDS = {second_factor.TOTP: gettext_lazy("App"), second_factor.PASSKEY: gettext_lazy("Passkey")}


class ResetForm(forms.Form):
    """Why the factors are removed."""

    reason = forms.CharField(
        min_length=second_factor.LEAST_REASON,
        max_length=300,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="It is kept in the platform's audit log, together with your account.",
    )


class ResetFactors:
    """Adds the column "second factor", and "Reset second factors" to the page of a user."""

    @display(description="second factor")  # type: ignore[untyped-decorator]
    def factors(self, user: Any) -> str:
        kinds = {row.type for row in user.authenticator_set.all()}
        return ", ".join(str(word) for kind, word in WORDS.items() if kind in kinds) or "—"

    @action(description="Reset second factors …", url_path="reset-factors", icon="lock_reset")  # type: ignore[untyped-decorator]
    def reset_factors(self, request: Any, object_id: str) -> HttpResponse:
        """Asks why; then the person signs in with their password alone and sets new ones up."""
        if not request.user.is_superuser:
            raise Http404
        try:
            user = User.objects.get(pk=object_id)
        except (User.DoesNotExist, ValidationError):
            raise Http404 from None
        if elsewhere := proof.asked_again(request):
            return elsewhere
        form = ResetForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                count = second_factor.factors_reset(
                    user=user, operator=request.user, reason=form.cleaned_data["reason"]
                )
            except PaasError as error:
                form.add_error("reason", sentence(error))
            else:
                said = _("%(count)s factors of %(email)s were removed.") % {"count": count, "email": user.email}
                messages.success(request, said)
                return HttpResponseRedirect(f"/admin/accounts/user/{user.pk}/change/")
        title = _("Reset the second factors of %(email)s") % {"email": user.email}
        here = {"title": title, "form": form, "person": user}
        return render(request, "admin/accounts/reset_factors.html", {**admin.site.each_context(request), **here})
