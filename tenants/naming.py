"""A tenant's name in addresses: what it may be, which names are free, and one sentence about each that is not.

A name is one DNS label of small ASCII letters, digits and inner hyphens, so letters of other alphabets that look
alike cannot occur, nor their punycode. What is left are digits that stand for letters: `skeleton` folds them, and a
name that folds like a name of the platform, or (where people choose for themselves) like another tenant's, is refused.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import F, Func, Value
from django.utils.translation import gettext_lazy as _

from tenants.models import RESERVED_SLUGS, RetiredSlug, Tenant, slug_validator

ALIKE, AS = "0134578i9", "oleastblg"
_FOLD = str.maketrans(ALIKE, AS)

MESSAGES = {
    "punycode": _("Addresses that begin with “xn--” stand for letters of other alphabets. Use letters a to z."),
    "form": _("Use 1 to 40 small letters a to z, digits and inner hyphens."),
    "reserved": _("This address is reserved for the platform."),
    "similar_reserved": _("This address looks like one of the platform's own."),
    "taken": _("This address is taken."),
    "retired": _("This address belonged to another workspace and is not given away again."),
    "similar": _("This address looks too much like that of another workspace."),
}
ENDINGS = ("team", "hq", "work", "2", "3", "4")


def skeleton(slug: str) -> str:
    """The name with digits read as the letters they look like, and i as l: `g00gle` and `google` are one."""
    return slug.translate(_FOLD)


RESERVED_SKELETONS = frozenset(skeleton(name).replace("-", "") for name in RESERVED_SLUGS)


def problem_with(slug: str, *, own: uuid.UUID | None = None, careful: bool = True) -> str:
    """What speaks against `slug`, as a key of MESSAGES; "" when it is free. Runs bound to the platform.

    own: the tenant that wants it, which may take back its former names. careful: refuse what looks like another
    tenant's name too (for names that people choose; operators may know better).
    """
    if slug.startswith("xn--"):
        return "punycode"
    try:
        slug_validator(slug)
    except ValidationError:
        return "form"
    if slug in RESERVED_SLUGS:
        return "reserved"
    if skeleton(slug).replace("-", "") in RESERVED_SKELETONS:
        return "similar_reserved"
    others = Tenant.objects.exclude(pk=own)
    if others.filter(slug=slug).exists():
        return "taken"
    retired = RetiredSlug.objects.filter(slug=slug).first()
    if retired is not None and retired.tenant_id != own:
        return "retired"
    if careful and others.annotate(folded=_folded("slug")).filter(folded=skeleton(slug)).exists():
        return "similar"
    return ""


def _folded(column: str) -> Func:
    return Func(F(column), Value(ALIKE), Value(AS), function="translate")


def check(slug: str, *, own: uuid.UUID | None = None, careful: bool = True) -> None:
    """Raises ValidationError on `slug`, with the key of MESSAGES as its code, unless the name is free."""
    problem = problem_with(slug, own=own, careful=careful)
    if problem:
        raise ValidationError({"slug": ValidationError(MESSAGES[problem], code=problem)})


def hold(slug: str) -> None:
    """Until the transaction ends, nobody else decides about this name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"slug:{slug}"])


def suggestions(slug: str, most: int = 3) -> list[str]:
    """Free names like `slug`; none when it is no name at all. Runs bound to the platform."""
    base = slug.strip("-")[:34].rstrip("-")
    candidates = [f"{base}-{ending}" for ending in ENDINGS] if base else []
    free: list[str] = []
    for candidate in candidates:
        if len(free) < most and not problem_with(candidate):
            free.append(candidate)
    return free


def from_title(title: str) -> str:
    """A name made from a workspace's title: `Müller & Co` -> `muller-co`; "" when nothing is left."""
    from django.utils.text import slugify

    made: Any = slugify(title)
    return str(made).replace("_", "-")[:40].strip("-")
