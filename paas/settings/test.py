"""Tests: as in dev, but with a cheap password hash."""

from paas.settings.base import *  # noqa: F403

PASSWORD_HASHERS = ["tests.hashers.FastBCrypt", "accounts.hashers.ImportedBCrypt"]
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # noqa: F405
# A test makes more requests a second than a person in an hour; those of the limits themselves set their own.
RATE_LIMITS = dict.fromkeys(RATE_LIMITS, 1_000_000)  # noqa: F405
# Each test that serves opens its own pool and asks little of it; a connection costs 10 ms.
HOT_POOL_WARM = 0

# The tests' machine may be slow, and they ask much at once.
REQUEST_PATIENCE_MS = 60_000
