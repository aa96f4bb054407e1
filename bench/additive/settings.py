"""The platform's settings of the day after the release that adds something."""

from paas.settings.dev import *  # noqa: F403

TENANT_APPS += ["bench.additive"]  # noqa: F405
INSTALLED_APPS += ["bench.additive"]  # noqa: F405
