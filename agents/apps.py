from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"

    def ready(self) -> None:
        from accounts import tenant_life
        from agents import starter

        tenant_life.FURNISHED_BY.append(starter.furnish)
