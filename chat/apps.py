from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chat"

    def ready(self) -> None:
        from agents.tools import registry
        from chat.file_tool import READ_FILE

        registry.add_builtin(READ_FILE)
