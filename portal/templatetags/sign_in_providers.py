"""`{% sign_in_providers %}`: a button for each provider that the present host offers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django import template

from accounts.identity_providers import providers_here

register = template.Library()


@register.inclusion_tag("portal/sign_in_providers.html", takes_context=True)
def sign_in_providers(context: Any) -> dict[str, Any]:
    """The buttons, which keep where the person wanted to go (`next` of the page's context)."""
    begin = "/login/oidc" if context["request"].tenant else "/accounts/oidc"
    asked = f"?{urlencode({'next': context['next']})}" if context.get("next") else ""
    return {"buttons": [(one.name, f"{begin}/{one.key}/{asked}") for one in providers_here()]}
