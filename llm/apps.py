"""The app of this room."""

from django.apps import AppConfig


class LlmConfig(AppConfig):
    """Tenant app: provider accounts live in each tenant's schema."""

    name = "llm"
    verbose_name = "Models"
