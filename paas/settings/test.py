"""Tests: as in dev, but with a cheap password hash."""

from paas.settings.base import *  # noqa: F403

PASSWORD_HASHERS = ["tests.hashers.FastBCrypt"]
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # noqa: F405
