"""The console's doors: who gets in, and the page that asks again who acts."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.sites import UnfoldAdminSite
from unfold.widgets import UnfoldAdminPasswordWidget

from accounts import proof, second_factor, sign_in
from core.errors import PaasError
from core.sentences import sentence

OWN = ("csrfmiddlewaretoken", "proof")  # fields of this page; all others are of the form that waits


class ProofForm(forms.Form):
    """Who asks is the operator: their password or a code."""

    proof = forms.CharField(
        label=_("Your password or a code"),
        max_length=1024,
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password", "autofocus": True}),
    )


class ConsoleSite(UnfoldAdminSite):
    """Unfold's, for staff who have the second factor that the platform may ask for."""

    def has_permission(self, request: HttpRequest) -> bool:
        # Who has none is sent to the sign-in page, which knows where one is set up (portal/sign_in.py).
        return bool(super().has_permission(request)) and not proof.must_enrol(request.user)

    def extra_urls(self) -> list[Any]:
        """What unfold adds to its own."""
        return [path("proof/", self.admin_view(self.prove), name="proof")]

    def prove(self, request: Any) -> HttpResponse:
        """`/admin/proof/?next=`: the password or a code, and back. A form that was sent when the proof had grown old
        comes here whole (accounts/proof.py: `sent`), and is sent on when it is given; the password is not."""
        following = sign_in.local_path(request.GET.get("next"), "/admin/")
        sent = "sent" in request.GET
        kept = [(name, value) for name, values in request.POST.lists() if name not in OWN for value in values]
        form: ProofForm | None = ProofForm(request.POST if "proof" in request.POST else None)
        if form is not None and form.is_valid():
            try:
                self._check(request.user, form.cleaned_data["proof"])
            except PaasError as error:
                form.add_error("proof", sentence(error))
            else:
                proof.noted(request)
                if not sent:
                    return HttpResponseRedirect(following)
                form = None
        shown = {"title": gettext("Is it you?"), "form": form, "kept": kept, "sent": sent, "next": following}
        status = 400 if form and form.errors else 200
        return render(request, "admin/console/proof.html", {**self.each_context(request), **shown}, status=status)

    @staticmethod
    def _check(user: Any, given: str) -> None:
        if not user.has_usable_password() and not second_factor.is_enrolled(user):
            raise PaasError("mfa_enrolment_required")
        second_factor.proof_check(user=user, proof=given)
