"""What a workspace begins with, so that its first question can be asked at once."""

from __future__ import annotations

from django.conf import settings

from agents.services import agent_set
from llm.services import provider_create

ACTOR = "job:tenants"


def furnish() -> None:
    """An assistant on the platform's local model, where there is one. Bound to the new tenant, in its transaction."""
    if not settings.LOCAL_MODEL_URL or not settings.LOCAL_MODEL_NAME:
        return
    local = provider_create(actor=ACTOR, name="local", kind="local")
    agent_set(
        slug="assistant",
        provider=local,
        model=settings.LOCAL_MODEL_NAME,
        actor=ACTOR,
        fields={
            "name": "Assistant",
            "instructions": "You are a helpful assistant. Answer in a few short sentences.",
            "parameters": {"max_tokens": 400},
        },
    )
