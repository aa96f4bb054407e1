from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chat"

    def ready(self) -> None:
        from agents.tools import registry
        from chat import embeddings, host
        from chat.file_tool import READ_FILE
        from knowledge import embedding, reranking

        registry.add_builtin(READ_FILE)
        embedding.use(embeddings.embed_for_base, host.run_from_thread)
        reranking.use(embeddings.rerank_for_base)
