"""Thumbs and comments: one's own answers only, listed for those who make the agent."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from chat import feedback, services
from chat.models import Conversation, Feedback, Message
from core.errors import PaasError
from tenants import scope
from tests.chat.talk import ask
from tests.conftest import Platform, in_thread
from tests.site import Site


async def answer_for(actor: Any) -> tuple[uuid.UUID, uuid.UUID]:
    """(conversation, answer) of a question that the actor asked."""
    told = await ask(actor, "Good?")

    def find() -> Any:
        with scope.bind(actor.tenant):
            return Message.objects.get(conversation_id=told.conversation_id, role="assistant").pk

    return told.conversation_id, in_thread(find)


async def test_feedback_is_the_askers_and_listed_by_version(host: Any, db: Platform, actor: Any) -> None:
    member, admin = actor("member"), actor("admin")
    conversation_id, message_id = await answer_for(member)

    def check() -> None:
        with scope.bind(db.acme):
            for _ in range(2):  # the second takes the first one's place
                feedback.feedback_put(actor=member, message_id=message_id, rating="up")
            said = feedback.feedback_put(actor=member, message_id=message_id, rating="down", comment="Too long")
            question = Message.objects.get(conversation_id=conversation_id, role="user").pk
            for who, what in ((admin, message_id), (member, question), (member, uuid.uuid4())):
                with pytest.raises(PaasError) as caught:
                    feedback.feedback_put(actor=who, message_id=what, rating="up")
                assert caught.value.code == "not_found"
            counts = [{"version": 1, "up": 0, "down": 1, "comments": 1}]
            assert feedback.feedback_counts(admin, "assistant") == counts
            every: dict[str, Any] = {"version": None, "rating": "", "before": None, "limit": 10}

            def page(**wanted: Any) -> list[Feedback]:
                return feedback.feedback_page(admin, "assistant", **every | wanted)[0]

            assert page() == page(version=1) == page(rating="down") == [said]
            assert page(version=2) == page(rating="up") == page(before=said.id) == []
            with pytest.raises(PaasError) as caught:
                feedback.feedback_counts(member, "assistant")
            assert caught.value.code == "permission_denied"
            services.conversation_delete(actor=member, conversation_id=conversation_id)
            assert (page(), feedback.feedback_counts(admin, "assistant")) == ([], [])
            with pytest.raises(PaasError):
                feedback.feedback_put(actor=member, message_id=message_id, rating="up")
            services.conversation_restore(actor=member, conversation_id=conversation_id)
            assert page() == [said]
            Conversation.objects.filter(pk=conversation_id).delete()
            assert not Feedback.objects.exists(), "it goes with the conversation"

    in_thread(check)


async def test_over_the_api(db: Platform, site: Site, actor: Any) -> None:
    client = await site.signed_in("admin")
    headers = {"X-CSRFToken": site.csrf(client, "acme")}
    conversation_id, message_id = await answer_for(actor("admin"))
    path, messages = f"/api/v1/messages/{message_id}/feedback", f"/api/v1/conversations/{conversation_id}/messages"
    for body, status in (({"rating": "down", "comment": "No"}, 200), ({"rating": "meh"}, 400), ({}, 400)):
        async with client.put(path, json=body, headers=headers) as answer:
            assert answer.status == status, await answer.text()
    async with client.get(messages) as answer:
        shown = (await answer.json())["messages"]
    assert [one["feedback"] for one in shown] == [None, {"rating": "down", "comment": "No"}]
    assert [one["agent_version"] for one in shown] == [None, 1]
    async with client.get("/api/v1/agents/assistant/feedback?rating=down&version=1") as answer:
        listed = await answer.json()
    assert [(one["message_id"], one["comment"], one["version"]) for one in listed["feedback"]] == [
        (str(message_id), "No", 1)
    ]
    assert listed["next_before"] is None
    async with client.delete(path, headers=headers) as answer:
        assert answer.status == 204
    async with client.get("/api/v1/agents/assistant/feedback") as answer:
        assert (await answer.json())["counts"] == []
