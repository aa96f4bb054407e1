"""The wiring's application, and the console's theme with the console's own site."""

from django.apps import AppConfig
from django.contrib import admin
from django.contrib.admin import sites


class PaasConfig(AppConfig):
    name = "paas"
    default = True

    def ready(self) -> None:
        from paas.console import words

        words.speak()


class ConsoleTheme(AppConfig):
    """Unfold, as its own configuration sets it up, but with ConsoleSite. Rooms register at `admin.site` afterwards."""

    name = "unfold"

    def ready(self) -> None:
        from paas.console.site import ConsoleSite

        admin.site = sites.site = ConsoleSite()
