from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"

    def ready(self) -> None:
        from accounts import tenant_life
        from agents import builtin, starter  # noqa: F401  # its agents register themselves

        tenant_life.FURNISHED_BY.append(starter.furnish)
