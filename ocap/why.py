"""Why an object is kept: who holds it, and who holds the holder, up to something that needs no holder.

Read from the store alone. Within a vat the durable rows that name the object are listed; what its
heap holds only the vat itself knows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice

import apsw
from attrs import frozen

from ocap.protocol.refs import HOST, is_promise_kref, is_well_formed_kref
from ocap.store.sqlite import open_read_only
from ocap.stored import Kind, interface_of, place_in, saying

PLACES = 5
"""Durable rows of a vat that are named; of more, how many there are."""

MAX_DEPTH = 32
"""Steps from the object to the end of one chain of holders; chains of promises are rarely longer than two."""


@frozen
class Holder:
    """One line of the answer.

    Attributes:
        depth: 0 for who holds the object itself, 1 for who holds that, and so on.
        text: who, and how.
    """

    depth: int
    text: str

    def __str__(self) -> str:
        return f"{'  ' * self.depth}<- {self.text}"


def why(path: str | os.PathLike[str], kref: str) -> list[Holder]:
    """Who keeps the object or promise `kref` in the database `path`, which may be in use.

    Raises:
        LookupError: there is no such object or promise; the asker's fault.
        StoreError: (or a subclass) the file cannot be read.
    """
    db = open_read_only(path)
    try:
        is_kref = is_well_formed_kref(kref)
        table = "promises" if is_kref and is_promise_kref(kref) else "objects"
        if not is_kref or not list(db.execute(f"SELECT 1 FROM {table} WHERE kref = ?", (kref,))):  # noqa: S608 - one of two names
            raise LookupError(f"there is no object or promise {kref}")
        return list(_Search(db).holders(kref, 0))
    finally:
        db.close()


class _Search:
    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._seen: set[str] = set()

    def holders(self, kref: str, depth: int) -> Iterator[Holder]:
        self._seen.add(kref)
        yield from (Holder(depth, text) for text in self._vats(kref))
        yield from (Holder(depth, text) for text in self._roots(kref))
        yield from (Holder(depth, text) for text in self._queued(kref))
        for promise, text in self._promises(kref):
            yield Holder(depth, text)
            if promise in self._seen:
                yield Holder(depth + 1, f"{promise}, see above")
            elif depth < MAX_DEPTH:
                yield from self.holders(promise, depth + 1)

    def _vats(self, kref: str) -> Iterator[str]:
        query = """SELECT c.vat, v.name, c.vref, c.reachable FROM clist c LEFT JOIN vats v ON v.id = c.vat
                   WHERE c.kref = ? AND (c.vref GLOB 'o-*' OR c.vref GLOB 'p*') ORDER BY c.vat"""
        for vat, name, vref, reachable in self._db.execute(query, (kref,)):
            how = "holds it" if reachable else "only recognises it"
            who = "the host program" if vat == HOST else f"{vat} {name}"
            yield f"{who} {how} as {vref}{self._durably(str(vat), str(vref))}"

    def _durably(self, vat: str, vref: str) -> str:
        """Of what interface the vat knows it, and in which of its durable rows."""
        found = self._db.execute("SELECT value FROM vatstore WHERE vat = ? AND key = ?", (vat, b"r" + vref.encode()))
        row = next((bytes(value) for (value,) in found), None)
        if row is None:
            return ""
        rows, interface = int(row.partition(b" ")[0]), interface_of(row)
        kind = f" ({interface})" if interface else ""
        if not rows:
            return kind
        places = list(islice(self._places(vat, vref), min(rows, PLACES)))
        more = f" and {rows - len(places)} more of its durable rows" if rows > len(places) else ""
        return f"{kind}, in {', '.join(places)}{more}" if places else f"{kind}, in {rows} of its durable rows"

    def _places(self, vat: str, vref: str) -> Iterator[str]:
        """The rows that name it; they are gone through until enough are found."""
        kinds_of = self._db.execute(_KINDS, (vat,))
        kinds = {int(bytes(key)[1:]): Kind.of_row(bytes(value)) for key, value in kinds_of}
        query = "SELECT key, value FROM vatstore WHERE vat = ?1 AND (instr(value, ?2) OR instr(key, ?2))"
        for key, value in self._db.execute(query, (vat, vref.encode())):
            place = place_in(bytes(key), bytes(value), vref)
            if place is not None:
                yield f"{saying(bytes(key), bytes(value), kinds).what}{place}"

    def _roots(self, kref: str) -> Iterator[str]:
        for vat, name in self._db.execute("SELECT id, name FROM vats WHERE root = ?", (kref,)):
            yield f"it is the root of {vat} {name}"
        for vat, name in self._db.execute(_PARAMETERS, (kref,)):
            yield f"the parameters of {vat} {name}"
        for (service,) in self._db.execute("SELECT name FROM services WHERE kref = ?", (kref,)):
            yield f"it is the service {service}"
        if list(self._db.execute("SELECT 1 FROM pins WHERE kref = ?", (kref,))):
            yield "the host program pinned it"
        for cluster, name in self._db.execute(_CONFIGS, (kref,)):
            yield f"the config of subcluster {cluster} {name}"
        for vat, name in self._db.execute("SELECT id, name FROM vats WHERE done = ?", (kref,)):
            yield f"it tells how {vat} {name} ends"
        for vat, name in self._db.execute(_ENDOWED, (kref,)):
            yield f"an endowment of {vat} {name}"
        for facet, vat in self._db.execute("SELECT kref, subject FROM facets WHERE done = ?", (kref,)):
            yield f"{facet}, the admin object of {vat}"
        for cluster, name in self._db.execute("SELECT id, name FROM subclusters WHERE result = ?", (kref,)):
            yield f"the result of subcluster {cluster} {name}"
        for number, method in self._db.execute(_DEAD_LETTERS, (kref,)):
            yield f"dead letter {number}, {method}"

    def _queued(self, kref: str) -> Iterator[str]:
        for seq, place, kind, method, target, result in self._db.execute(_ITEMS, (kref,)):
            where = f"parked at {place}" if place else "in the run queue"
            role = "target" if target == kref else "result" if result == kref else "argument"
            yield f"item {seq} {where}: {kind} {method or ''}, as its {role}".replace(" ,", ",")

    def _promises(self, kref: str) -> Iterator[tuple[str, str]]:
        for promise, state in self._db.execute(_SETTLED, (kref,)):
            yield str(promise), f"what {promise} was {state} with"
        for (promise,) in self._db.execute("SELECT kref FROM promises WHERE target = ?", (kref,)):
            yield str(promise), f"{promise} follows it"


# Whether a list of krefs separated by spaces has one of them.
_PARAMETERS = "SELECT id, name FROM vats WHERE (' ' || parameter_slots || ' ') LIKE '% ' || ?1 || ' %'"
_ENDOWED = """SELECT v.id, v.name FROM vats v, json_each(v.options, '$.endowments') e
              WHERE json_extract(e.value, '$[1]') = ?1"""
_KINDS = "SELECT key, value FROM vatstore WHERE vat = ? AND key >= x'6b' AND key < x'6c'"
_CONFIGS = "SELECT id, name FROM subclusters WHERE (' ' || config_slots || ' ') LIKE '% ' || ?1 || ' %'"
_HAS_SLOT = "(' ' || slots || ' ') LIKE '% ' || ?1 || ' %'"
_SETTLED = "SELECT kref, state FROM promises WHERE " + _HAS_SLOT  # noqa: S608 - constants
_DEAD_LETTERS = "SELECT number, method FROM dead_letters WHERE target = ?1 OR " + _HAS_SLOT  # noqa: S608 - constants
_ITEMS = (
    "SELECT seq, place, kind, method, target, result FROM queue WHERE target = ?1 OR result = ?1 OR "  # noqa: S608 - constants
    + _HAS_SLOT
    + " ORDER BY seq"
)
