"""What waits for what, and since when: the promises of a store that are not settled. Read from the store alone."""

from __future__ import annotations

import os
from typing import Any

import attrs
from attrs import frozen

from ocap.protocol.refs import HOST
from ocap.store.marks import Marks
from ocap.store.sqlite import open_read_only

_PROMISES = """
SELECT p.kref, p.decider, d.name,
    (SELECT group_concat(s.subscriber, ' ') FROM subscribers s WHERE s.promise = p.kref),
    (SELECT count(*) FROM queue q WHERE q.place = p.kref),
    m.method, m.target, m.place
FROM promises p LEFT JOIN vats d ON d.id = p.decider LEFT JOIN queue m ON m.result = p.kref
WHERE p.state = 'unresolved' ORDER BY CAST(substr(p.kref, 3) AS INTEGER)
"""


@frozen
class Waiting:
    """A promise that is not settled.

    Attributes:
        promise: its kref.
        seconds: how long it has been there, at least.
        is_known: it is no more than that.
        decider: who settles it: a vat's id and name, `the host program`, or None while a message carries it.
        heard_by: the vats that wait for it, and the promises that follow it.
        messages: how many wait at it.
        answer_to: the message whose answer it is, as long as that waits itself.
    """

    promise: str
    seconds: float
    is_known: bool
    decider: str | None
    heard_by: list[str]
    messages: int
    answer_to: str | None

    def to_json(self) -> dict[str, Any]:
        return attrs.asdict(self)


def waiting(path: str | os.PathLike[str]) -> list[Waiting]:
    """The promises of a database that are not settled, oldest first. It may be in use.

    Raises:
        StoreError: (or a subclass) the file cannot be read.
    """
    db = open_read_only(path)
    try:
        db.execute("BEGIN")  # all of one moment
        marks = Marks.read(db)
        found = []
        for kref, decider, name, subscribers, messages, method, target, place in db.execute(_PROMISES):
            age = marks.age("promise", int(str(kref)[2:]))
            who = "the host program" if decider == HOST else f"{decider} {name}" if decider else None
            where = f"held at {place}" if place else "in the run queue"
            message = f"{method} to {target}, {where}" if method else None
            heard = str(subscribers or "").split()
            found.append(Waiting(str(kref), age.seconds, age.is_known, who, heard, int(str(messages)), message))
        return found
    finally:
        db.close()
