"""How the messages of a conversation hang together: each follows a parent; those with one parent are siblings."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable

Row = tuple[uuid.UUID, uuid.UUID | None, bool]  # id, parent, superseded (of before there were branches)


class Tree:
    """rows: all messages of one conversation, oldest first. leaf: the last one of the path that is shown.

    leaf None: nobody has linked this conversation yet; it is the list of what was not superseded.
    """

    def __init__(self, rows: Iterable[Row], leaf: uuid.UUID | None) -> None:
        self._parents: dict[uuid.UUID, uuid.UUID | None] = {}
        self._children: dict[uuid.UUID | None, list[uuid.UUID]] = defaultdict(list)
        self._linked = leaf is not None
        shown: list[uuid.UUID] = []
        for id_, parent, superseded in rows:
            self._parents[id_] = parent
            self._children[parent].append(id_)
            if not superseded:
                shown.append(id_)
        self.order = list(self._parents)
        self.path = self._path_to(leaf) if leaf is not None else shown

    def __contains__(self, id_: uuid.UUID) -> bool:
        return id_ in self._parents

    def _path_to(self, leaf: uuid.UUID) -> list[uuid.UUID]:
        found: list[uuid.UUID] = []
        at: uuid.UUID | None = leaf
        while at is not None and at in self._parents:
            found.append(at)
            at = self._parents[at]
        return found[::-1]

    def siblings(self, id_: uuid.UUID) -> list[uuid.UUID]:
        """Itself and the messages beside it, oldest first."""
        return self._children[self._parents[id_]] if self._linked else [id_]

    def newest_below(self, id_: uuid.UUID) -> uuid.UUID:
        """The leaf that is reached from it by the newest child each time."""
        while children := self._children.get(id_):
            id_ = children[-1]
        return id_
