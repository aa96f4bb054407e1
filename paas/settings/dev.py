"""`make run`: everything on this machine, plain HTTP on *.localhost."""

from paas.settings.base import *  # noqa: F403
