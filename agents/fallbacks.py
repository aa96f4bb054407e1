"""The models that are asked in an agent's place of its own: `fallbacks` among a version's parameters.

`[{"provider": <account>, "model": <name>}, ...]`, in their order. People give an account's name or id; the id is kept,
so that a new name changes nothing. An account that is gone or switched off, or that does not allow the model, is passed
over.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from agents.charges import charged_info
from agents.parameters import FALLBACKS
from agents.runtime.spec import Choice
from core.errors import PaasError
from llm.catalog import ModelInfo
from llm.models import ProviderAccount
from llm.selectors import provider_ref, providers

NAME = FALLBACKS
MOST = 5


def fallbacks_checked(value: Any) -> list[dict[str, str]]:
    """The fallbacks as they are kept, for the bound tenant. Raises ValidationError with a sentence for people."""
    if not isinstance(value, list) or len(value) > MOST:
        raise ValidationError(f"fallbacks is a list of at most {MOST} objects with provider and model.")
    accounts = {key: str(one.id) for one in providers() for key in (one.name, str(one.id))}
    found = []
    for entry in value:
        if not isinstance(entry, dict) or set(entry) != {"provider", "model"}:
            raise ValidationError("Each of fallbacks is an object with provider and model.")
        provider, model = entry["provider"], entry["model"]
        if not isinstance(model, str) or not 1 <= len(model) <= 120 or "\x00" in model:
            raise ValidationError("The model of a fallback is a name of at most 120 characters.")
        if not isinstance(provider, str) or provider not in accounts:
            raise ValidationError(f"There is no provider {str(provider)[:80]!r} in this workspace.")
        found.append({"provider": accounts[provider], "model": model})
    if len({(one["provider"], one["model"]) for one in found}) != len(found):
        raise ValidationError(gettext("Two fallbacks are the same."))
    return found


def fallbacks_shown(
    kept: list[dict[str, str]], accounts: Sequence[ProviderAccount] | None = None
) -> list[dict[str, str]]:
    """The fallbacks as people see them: accounts by name. Those of an account that is gone are left out.

    accounts: those of the bound tenant, where they have been read already.
    """
    names = {str(one.id): one.name for one in (providers() if accounts is None else accounts)}
    return [entry | {"provider": names[entry["provider"]]} for entry in kept if entry["provider"] in names]


def fallbacks_of(parameters: dict[str, Any], own: ModelInfo) -> tuple[Choice, ...]:
    """Those that can be asked now, with what the bound tenant is charged for them.

    One whose price is in another currency than `own`, or unknown where that is known, is passed over: no limit on
    cost could hold for it.
    """
    entries = parameters.get(NAME) or []
    if not entries:
        return ()
    ids = [uuid.UUID(entry["provider"]) for entry in entries]
    accounts = {str(one.id): one for one in ProviderAccount.objects.filter(id__in=ids, enabled=True)}
    found = [
        choice
        for entry in entries
        if (account := accounts.get(entry["provider"])) is not None and (choice := _choice(account, entry["model"]))
    ]
    return tuple(one for one in found if one.info.currency == own.currency and (one.info.priced or not own.priced))


def _choice(account: ProviderAccount, model: str) -> Choice | None:
    """None: it cannot be asked."""
    if not account.of_platform and not account.allows(model):
        return None
    try:
        return Choice(provider_ref(account, model), account.name, model, charged_info(account, model))
    except PaasError:  # the plan has it no more
        return None
