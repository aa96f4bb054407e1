"""Chains of digests, walked: each link's digest is over the one before it and over what the link holds.

A walk finds links that were changed, exchanged or taken out of the middle. That the newest are gone is seen from a head
that was kept where the chain's writers cannot write.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Link(NamedTuple):
    """One link. content: what its digest covers; None: it is gone. fault: what is wrong with it besides."""

    number: int
    digest: bytes
    content: bytes | None
    fault: Callable[[], str] = str


class Head(NamedTuple):
    """Up to where a chain was found whole. seq: 0 is nowhere."""

    seq: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Words:
    """The sentences about one kind of chain. {number}: the link, or the head; {before}: the link before it."""

    replaced: str
    missing: str
    changed: str
    rewritten: str
    shortened: str
    gone: str = ""


@dataclass(frozen=True, slots=True)
class Walked:
    """seq, digest: of the last link up to which the chain is whole. checked: links that were computed again.

    problem: a sentence, "" when all is well; broken_at: the link's number.
    """

    seq: int
    digest: bytes
    checked: int
    problem: str = ""
    broken_at: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one chain; as Walked, with whose it is.

    tenant_id: None is the platform's own. problem, broken_at: also of what lies beside the chain, which has no number.
    """

    tenant_id: uuid.UUID | None
    name: str
    seq: int
    digest: bytes = field(repr=False)
    checked: int
    problem: str = ""
    broken_at: int | None = None

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "tenant": self.name,
            "tenant_id": str(self.tenant_id) if self.tenant_id else None,
            "seq": self.seq,
            "digest": self.digest.hex(),
            "checked": self.checked,
            "problem": self.problem,
            "broken_at": self.broken_at,
        }


def walk(
    head: Head,
    links: Callable[[int], Iterator[Link]],
    digest_of: Callable[[bytes, int, bytes], bytes],
    words: Words,
    *,
    start: bytes | None = None,
) -> Walked:
    """Compute a chain again from its beginning, or after its head where `start` is the digest that is stored there now.

    links(seq): those after `seq`, in order. digest_of(before, number, content): as they were digested.
    """
    seq, digest, checked = 0, b"", 0
    if start is not None and head.seq:
        if start != head.digest:
            return Walked(0, b"", 0, words.replaced.format(number=head.seq), head.seq)
        seq, digest = head
    for link in links(seq):
        computed = b"" if link.content is None else digest_of(digest, link.number, link.content)
        if problem := _fault(seq, link, computed, words) or _rewritten(head, link, computed, words):
            return Walked(seq, digest, checked, problem, seq + 1)
        seq, digest, checked = link.number, computed, checked + 1
    if seq < head.seq:
        return Walked(seq, digest, checked, words.shortened.format(number=head.seq, before=seq), seq + 1)
    return Walked(seq, digest, checked)


def _fault(seq: int, link: Link, computed: bytes, words: Words) -> str:
    """What is wrong with the link that follows `seq`; "" when nothing is."""
    if link.number != seq + 1:
        return words.missing.format(number=seq + 1)
    if link.content is None:
        return words.gone.format(number=link.number)
    if computed != link.digest:
        return words.changed.format(number=link.number, before=seq)
    return link.fault()


def _rewritten(head: Head, link: Link, computed: bytes, words: Words) -> str:
    if link.number == head.seq and computed != head.digest:
        return words.rewritten.format(number=link.number)
    return ""
