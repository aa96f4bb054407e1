"""The first steps of a new workspace, on its dashboard: what is done, and where to do the rest."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from accounts.actors import Actor
from accounts.policies import ADMIN_SETTINGS
from chat.first_steps import first_steps


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. button, address: where that is done."""

    name: str
    title: str
    text: str
    button: str
    address: str
    done: bool


@dataclass(frozen=True, slots=True)
class Guide:
    """The steps, in order. shown: False where the workspace put them away, or all is done."""

    steps: list[Step]
    shown: bool

    @property
    def done(self) -> int:
        return sum(step.done for step in self.steps)


def guide_of(actor: Actor, *, wanted: bool) -> Guide | None:
    """For who sets the workspace up; None for others. wanted: they asked for it, whatever is put away or done."""
    if ADMIN_SETTINGS not in actor.actions or actor.user_id is None:
        return None
    found = first_steps(actor.user_id)
    steps = [
        Step(
            "provider", _("Connect a model"),
            _("Add an account with a vendor, or use the model that runs beside the platform."),
            _("Add a provider"), "/settings/providers/new/", found.provider,
        ),
        Step(
            "agent", _("Make an agent"), _("Begin with a template, change it, and publish it."),
            _("Choose a template"), "/settings/new-agent/?template=assistant", found.agent,
        ),
        Step(
            "tried", _("Try it"), _("Ask it something, as the people of your workspace will."),
            _("Open the chat"), "/chat/", found.tried,
        ),
        Step(
            "people", _("Invite people"), _("They get a letter with a link. You say what each of them may do."),
            _("Invite people"), "/settings/members/", found.people,
        ),
        Step(
            "key", _("Make an API key"), _("So that your own programs can ask the agent, with examples to paste."),
            _("Make a key"), "/settings/keys/new/", found.key,
        ),
    ]  # fmt: skip
    complete = all(step.done for step in steps)
    return Guide(steps, wanted or not (found.hidden or complete))
