"""The sign-in form."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _


class SignInForm(forms.Form):
    """E-mail address and password; has the interface that Django's LoginView expects."""

    email = forms.EmailField(
        label=_("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )
    password = forms.CharField(
        label=_("Password"),
        max_length=1024,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, request: Any = None, *args: Any, **kwargs: Any) -> None:
        self.request = request
        self._user: Any = None
        super().__init__(*args, **kwargs)

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        if "email" in values and "password" in values:
            self._user = authenticate(self.request, username=values["email"], password=values["password"])
            if self._user is None:
                raise ValidationError(_("The e-mail address or the password is not right."), code="invalid_credentials")
        return values

    def get_user(self) -> Any:
        """The person who signed in."""
        return self._user
