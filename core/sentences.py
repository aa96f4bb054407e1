"""What an error tells a person in the language of the page."""

from __future__ import annotations

from django.utils.translation import gettext

from core.errors import ERRORS, PaasError


def sentence(error: PaasError) -> str:
    """Its own words in English, and in other languages where the catalogue has them; else those of its code."""
    own = gettext(error.message)
    if own != error.message:
        return own
    of_code = gettext(ERRORS[error.code].message)
    return error.message if of_code == ERRORS[error.code].message else of_code
