from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"

    def ready(self) -> None:
        from accounts import members, tenant_life
        from agents import builtin, memories, starter  # noqa: F401  # its agents register themselves

        members.FORGOTTEN_BY.append(memories.forget_person)
        tenant_life.FURNISHED_BY.append(starter.furnish)
