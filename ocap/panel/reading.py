"""What the pages show of a store, read over a connection of the panel's own, which never writes.

A page reads in one transaction, so that what it says of one thing fits what it says of another. What vats
wrote is decoded for showing only: references stay names.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from ocap.config import VatConfig
from ocap.legible import as_text, decoded, safe_text, shown
from ocap.log.lines import call_text
from ocap.protocol.capdata import CapData
from ocap.store.marks import Marks
from ocap.store.sqlite import open_read_only
from ocap.stored import Kind, Kinds, class_of, interface_of, raw, saying
from ocap.why import Holder, why

PAGE = 100
"""Rows of one page."""

CELL = 300
"""Characters of one value in the store browser."""

SHOWN_HOLDERS = 3
"""Of an object, that a list of objects names."""

HELD = 200
"""References of a vat that its page names."""

HIDDEN = ("host", "kernel")
"""Endpoints that are no vats."""

POLICIES = {"suspend": "it is suspended", "terminate": "it is terminated", "panic": "the kernel stops"}
"""What becomes of a vat that has faulted as often as it may."""

Row = dict[str, Any]


class NothingThereError(LookupError):
    """What a page was asked about is not in the store, or not any more."""


@frozen
class Edge:
    """How many objects of `target` a vat `source` holds."""

    source: str
    target: str
    count: int


class Reader:
    """A read-only connection.

    Raises:
        StoreError: the database cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = open_read_only(path)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read inside is all of one moment."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    def version(self) -> int:
        """Differs from the last one when something was committed between."""
        return int(self._db.pragma("data_version"))

    def _rows(self, query: str, *values: Any) -> list[Row]:
        cursor = self._db.execute(query, values)
        return [dict(zip((it[0] for it in cursor.get_description()), row, strict=True)) for row in cursor]

    def _one(self, query: str, *values: Any) -> Row:
        rows = self._rows(query, *values)
        if not rows:
            raise NothingThereError
        return rows[0]

    # ---- subclusters and vats -------------------------------------------------------------------

    def subclusters(self) -> list[Row]:
        found = self._rows(
            "SELECT id, name, bootstrap, is_system, state, replaces FROM subclusters ORDER BY length(id), id"
        )
        vats: defaultdict[str, list[Row]] = defaultdict(list)
        for vat in self.vats():
            vats[vat["subcluster"]].append(vat)
        for it in found:
            it["vats"] = vats[it["id"]]
        return found

    def subcluster(self, id_: str) -> Row:
        row = self._one("SELECT * FROM subclusters WHERE id = ?", id_)
        row["config"] = shown(_data(row["config"], row["config_slots"]))
        result = self._rows("SELECT state, body, slots FROM promises WHERE kref = ?", row["result"])
        row["result"] = shown(_data(result[0]["body"], result[0]["slots"])) if result and result[0]["body"] else None
        row["vats"] = self.vats(subcluster=id_)
        row["outside"] = self._rows(_HELD_OUTSIDE, id_)
        row["bootstrap_name"] = next((vat["name"] for vat in row["vats"] if vat["id"] == row["bootstrap"]), "")
        row["services_of"] = [it for vat in row["vats"] for it in self.services_of(vat["id"])]
        return row

    def config(self, id_: str) -> Row | None:
        """A subcluster's config in the form of a TOML file, without what is the default; None if TOML cannot say it."""
        row = self._one("SELECT config, config_slots FROM subclusters WHERE id = ?", id_)
        if row["config_slots"]:
            return None
        config = decoded(_data(row["config"], row["config_slots"]))
        if not _is_toml(config["name"]) or not all(_is_toml(vat["parameters"]) for vat in config["vats"].values()):
            return None
        vats = {
            name: {
                key: value if key == "parameters" else _listed(value) for key, value in vat.items() if _says(key, value)
            }
            for name, vat in config["vats"].items()
        }
        services = {"services": list(config["services"])} if config["services"] else {}
        return {"name": config["name"], "bootstrap": config["bootstrap"], **services, "vats": vats}

    def names(self) -> dict[str, str]:
        """Of the vats that live, by id."""
        return {row["id"]: row["name"] for row in self._rows(_NAMES)}

    def vats(self, id_: str | None = None, subcluster: str | None = None) -> list[Row]:
        """Those that live: all, or the one of that id, or those of a subcluster."""
        rows, marks = self._rows(_VATS, id_, subcluster), self.marks()
        waiting = {row["vat"]: row for row in self._rows(_WAITING_FOR)}
        for row in rows:
            row["options"] = _treatment(row["options"])
            queued = waiting.get(row["id"])
            row["queued"] = queued["count"] if queued else 0
            row["waits"] = marks.age("queue", queued["oldest"]) if queued else None
        return rows

    def called(self, id_: str) -> str:
        """A subcluster or vat as a page names it; by its id alone if it has gone."""
        rows = self._rows(
            "SELECT name FROM subclusters WHERE id = ?1 UNION ALL SELECT name FROM vats WHERE id = ?1", id_
        )
        return f"{id_} {rows[0]['name']}".rstrip() if rows else id_

    def suspended_receiver(self, target: str) -> Row | None:
        """The vat that is sent to when `target` is, if it is suspended."""
        for row in self._rows(_SUSPENDED_RECEIVER, target):
            return next(iter(self.vats(row["id"])), None)
        return None

    def vat(self, id_: str) -> Row:
        found = self.vats(id_)
        if not found:
            raise NothingThereError
        (row,) = found
        data = self._one("SELECT parameters, parameter_slots FROM vats WHERE id = ?", id_)
        row["parameters"] = shown(_data(data["parameters"], data["parameter_slots"]))
        row["queue"] = self.queue(id_)
        row["letters"] = self._one("SELECT count(*) AS count FROM dead_letters WHERE vat = ?", id_)["count"]
        row["holds"] = self._held_by_owner(id_)
        row["held_by"] = self._rows(_HELD_BY, id_)
        row["services_of"] = self.services_of(id_)
        row["decides"] = self._rows(
            "SELECT kref FROM promises WHERE decider = ? AND state = 'unresolved' LIMIT 100", id_
        )
        return row

    def services_of(self, vat: str) -> list[Row]:
        """The services that are objects of a vat, and the subclusters that use each."""
        found = self._rows(_SERVICES_OF, vat)
        if found:
            clusters = self._rows("SELECT id, name, config, config_slots FROM subclusters ORDER BY length(id), id")
            for cluster in clusters:
                config = decoded(_data(cluster["config"], cluster["config_slots"]))
                endowed = (name for it in config["vats"].values() for name in it.get("endowments", ()))
                cluster["uses"] = {*config["services"], *endowed}
            for it in found:
                it["users"] = [row for row in clusters if it["name"] in row["uses"]]
        return found

    def _held_by_owner(self, vat: str) -> list[Row]:
        """The objects that a vat holds, by their owners: how many of each, and the first of them."""
        rows = self._rows(_HOLDS, vat, HELD)
        self._say_what_they_are(rows)
        owners = self._rows(_HOLDS_OF, vat)
        for it in owners:
            it["objects"] = [row for row in rows if row["owner"] == it["owner"]]
        return owners

    def queue(self, vat: str) -> list[Row]:
        """What waits for a vat: in the run queue, or parked at it."""
        rows, marks = self._rows(_QUEUE, vat), self.marks()
        for row in rows:
            row["age"] = marks.age("queue", row["seq"])
            row["call"] = _call(row) if row["method"] else ""
        return rows

    def dead_letters(self, limit: int = PAGE) -> list[Row]:
        """Messages that faulted their vat, newest first."""
        rows, marks = self._rows(_DEAD_LETTERS, limit), self.marks()
        for row in rows:
            row["age"] = marks.age("crank", row["crank"])
            row["call"] = _call(row)
        return rows

    def latest_dead_letter(self, number: int) -> tuple[int, str]:
        """The highest number that any has, and the vat of the one of that number."""
        row = self._one(
            "SELECT (SELECT max(number) FROM dead_letters) AS last, (SELECT vat FROM dead_letters WHERE number = ?) AS vat",
            number,
        )
        return row["last"] or 0, row["vat"] or ""

    def dead_letter_after(self, number: int, vat: str) -> Row | None:
        """The newest of a vat with a higher number, with the state of the vat."""
        rows = self._rows(_DEAD_LETTER_AFTER, number, vat)
        for row in rows:
            row["options"] = _treatment(row["options"])
        return rows[0] if rows else None

    def dead_letter_count(self) -> int:
        return self._count("dead_letters")

    # ---- objects --------------------------------------------------------------------------------

    def objects(self, vat: str = "", after: int = 0) -> list[Row]:
        """Objects in the order of their numbers, those that a vat exports or holds, or all."""
        rows = self._rows(_OBJECTS, after, vat, PAGE)
        self._say_what_they_are(rows)
        for row in rows:
            row["holders"] = self._rows(_HOLDERS, row["kref"], SHOWN_HOLDERS + 1)
        return rows

    def object(self, kref: str) -> Row:
        row = self._one(_OBJECT, kref)
        self._say_what_they_are([row])
        row["holders"] = self._rows(_HOLDERS, kref, -1)
        return row

    def _say_what_they_are(self, rows: list[Row]) -> None:
        """What each object of `kref`, `owner` and `owner_vref` is, as far as the store knows.

        Of durable ones the exporter's rows name the class. What an import is said to be stands where a vat stored it;
        of two that say different things the one with the lower id counts.
        """
        services = {row["kref"]: row["name"] for row in self._rows(_SERVICES)}
        kinds: dict[str, Kinds] = {}
        for row in rows:
            kref, owner, vref = row["kref"], row["owner"], row["owner_vref"]
            found = f"service {services[kref]}" if kref in services else None
            if row["root_of"]:
                found = f"root of {row['root_of']}{f', {found}' if found else ''}"
            elif found is None and vref is not None and owner not in HIDDEN:
                if owner not in kinds:
                    kinds[owner] = self._kinds(owner)
                found = class_of(vref, kinds[owner])
            if found is None:
                said = (interface_of(bytes(it["value"])) for it in self._rows(_STORED_AS, kref))
                found = next((name for name in said if name), None)
            row["is"] = found

    def _kinds(self, vat: str) -> Kinds:
        rows = self._rows("SELECT key, value FROM vatstore WHERE vat = ? AND key >= x'6b' AND key < x'6c'", vat)
        return {int(bytes(it["key"])[1:]): Kind.of_row(bytes(it["value"])) for it in rows}

    def why(self, kref: str) -> list[Holder]:
        return why(self.path, kref)

    def edges(self) -> list[Edge]:
        return [Edge(row["source"], row["target"], row["count"]) for row in self._rows(_EDGES)]

    # ---- promises -------------------------------------------------------------------------------

    def promises(self, *, newest_first: bool = False) -> list[Row]:
        """Those that are not settled, the oldest first unless it is asked otherwise."""
        rows, marks = self._rows(_PROMISES, PAGE, -1 if newest_first else 1), self.marks()
        for row in rows:
            row["waiting"] = self._rows(_WAITING, row["kref"])
            row["age"] = marks.age("promise", row["number"])
        self._say_who_will_decide(rows)
        return rows

    def _say_who_will_decide(self, rows: list[Row]) -> None:
        """Of promises that a message under way carries the vat that the message is for, as far as that is known."""
        carried = {row["kref"]: row for row in rows if not row["decider"]}
        for row in rows:
            row["receiver"] = row["receiver_name"] = None
        for it in self._rows(_CARRIERS, " ".join(carried)) if carried else ():
            carried[it["result"]].update(receiver=it["vat"], receiver_name=it["name"])

    def promise(self, kref: str) -> Row:
        row = self._one(
            "SELECT p.*, v.name AS decider_name FROM promises p LEFT JOIN vats v ON v.id = p.decider WHERE kref = ?",
            kref,
        )
        self._say_who_will_decide([row])
        row["waiting"] = self._rows(_WAITING, kref)
        row["parked"] = self._rows("SELECT seq, kind, method FROM queue WHERE place = ? ORDER BY seq LIMIT 100", kref)
        marks = self.marks()
        row["age"] = marks.age("promise", int(kref[2:]))
        for item in row["parked"]:
            item["age"] = marks.age("queue", item["seq"])
        row["value"] = shown(_data(row["body"], row["slots"])) if row["body"] is not None else None
        return row

    def waits(self) -> dict[tuple[str, str], str]:
        """Of each vat that waits for another, or itself, to decide a promise: the oldest such promise."""
        return {(row["vat"], row["decider"]): f"kp{row['oldest']}" for row in self._rows(_WAITS)}

    def unsettled(self) -> int:
        return int(self._one("SELECT count(*) AS count FROM promises WHERE state = 'unresolved'")["count"])

    def marks(self) -> Marks:
        """By which it is known how long anything has been there."""
        return Marks.read(self._db)

    # ---- the store ------------------------------------------------------------------------------

    def tables(self) -> list[Row]:
        names = self._rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        return [{"name": it["name"], "rows": self._count(it["name"])} for it in names]

    def _count(self, table: str) -> int:
        return int(self._one(f'SELECT count(*) AS count FROM "{table}"')["count"])  # noqa: S608 - the schema's own name

    def table(self, name: str, page: int, vat: str = "") -> tuple[list[str], list[list[str]]]:
        """The columns of a table, and the rows of one page, every value as short text.

        Args:
            name: of the table.
            page: which one, from 0.
            vat: only the rows of that one, of a table that has them by vat.
        """
        if name not in {it["name"] for it in self.tables()}:
            raise NothingThereError
        columns = [it[0] for it in self._db.execute(f'SELECT name FROM pragma_table_info("{name}")')]  # noqa: S608 - as below
        where = "WHERE vat = ?3" if vat and "vat" in columns else ""
        query = f'SELECT * FROM "{name}" {where} LIMIT ?1 OFFSET ?2'  # noqa: S608 - the schema's own name
        cursor = self._db.execute(query, (PAGE, max(0, page) * PAGE, *([vat] if where else [])))
        rows = [dict(zip(columns, values, strict=True)) for values in cursor]
        if name == "vatstore":
            return ["vat", "key", "what it is", "value"], self._vatstore(rows)
        return columns, [[_cell(column, row) for column in columns] for row in rows]

    def _vatstore(self, rows: list[Row]) -> list[list[str]]:
        kinds = {vat: self._kinds(vat) for vat in {row["vat"] for row in rows}}
        lines = []
        for row in rows:
            key = bytes(row["key"])
            found = saying(key, bytes(row["value"]), kinds[row["vat"]])
            lines.append([row["vat"], raw(key), _cut(found.what), _cut(found.value)])
        return lines

    def vats_with_rows(self, name: str) -> list[str]:
        """By whose rows a table can be filtered."""
        if name not in _BY_VAT:
            return []
        found = self._rows(f'SELECT DISTINCT vat FROM "{name}" WHERE vat IS NOT NULL ORDER BY length(vat), vat')  # noqa: S608 - of ours
        return [row["vat"] for row in found]

    def stored(self) -> Row:
        """Pages and bytes of the file."""
        pages, size = self._db.pragma("page_count"), self._db.pragma("page_size")
        return {"bytes": int(pages) * int(size), "pages": int(pages), "layout": int(self._db.pragma("user_version"))}


def _is_toml(value: Any) -> bool:
    """Whether a value comes back from TOML as it was."""
    if type(value) is dict:
        return all(type(key) is str and _is_toml(it) for key, it in value.items())
    if type(value) is list:
        return all(map(_is_toml, value))
    return type(value) in (str, bool, int, float)


_DEFAULTS = {it.name: it.default for it in attrs.fields(VatConfig)}


def _treatment(options: str) -> Row:
    """How a vat is treated when it faults, and otherwise, from the JSON of its row."""
    return {**{name: _DEFAULTS[name] for name in ("on_fault", "fault_limit")}, **json.loads(options)}


def _says(key: str, value: Any) -> bool:
    """Whether an option of a vat is not what it is without being named."""
    return bool(value) if key == "parameters" else _listed(value) != _listed(_DEFAULTS[key])


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _data(body: bytes, slots: str | None) -> CapData:
    return CapData(bytes(body), tuple((slots or "").split()))


def _call(row: Row) -> str:
    """The method and arguments of a message, as they would be written."""
    return call_text({"method": row["method"], "args": shown(_data(row["body"], row["slots"]))})


_BY_VAT = ("clist", "dead_letters", "gc_actions", "vatstore")
"""Tables whose rows are of vats."""

_BODIES = {"body": "slots", "parameters": "parameter_slots", "config": "config_slots"}
"""Columns that hold CapData, and where their slots are."""


def _cell(column: str, row: Row) -> str:
    value = row[column]
    if isinstance(value, bytes):
        text = as_text(shown(_data(value, row.get(_BODIES[column])))) if column in _BODIES else raw(value)
    else:
        text = "" if value is None else safe_text(str(value))
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= CELL else f"{text[:CELL]}… {len(text)} characters"


_VATS = """
SELECT v.id, v.name, v.subcluster, s.name AS subcluster_name, v.source, v.root, v.state, v.incarnation, v.faults, v.options, v.reason,
       v.epoch < (SELECT max(next) - 1 FROM counters WHERE kind = 'epoch') AS restart_due,
       (SELECT count(*) FROM clist c WHERE c.vat = v.id AND c.vref GLOB 'o+*') AS exports,
       (SELECT count(*) FROM clist c WHERE c.vat = v.id AND c.vref GLOB 'o-*') AS imports
FROM vats v LEFT JOIN subclusters s ON s.id = v.subcluster
WHERE v.subcluster IS NOT NULL AND v.state <> 'terminated' AND (?1 IS NULL OR v.id = ?1) AND (?2 IS NULL OR v.subcluster = ?2)
ORDER BY length(v.id), v.id
"""
_NAMES = """
SELECT id, name FROM vats WHERE subcluster IS NOT NULL AND state <> 'terminated' ORDER BY length(id), id
"""
_WAITING_FOR = """
SELECT coalesce(q.vat, o.owner, q.place) AS vat, count(*) AS count, min(q.seq) AS oldest
FROM queue q LEFT JOIN objects o ON o.kref = q.target GROUP BY 1
"""
_SERVICES = """
SELECT kref, name FROM services
UNION SELECT v.root, s.name FROM subclusters s JOIN vats v ON v.id = s.bootstrap WHERE s.is_system AND v.root IS NOT NULL
"""
_SERVICES_OF = """
SELECT s.name FROM services s JOIN objects o ON o.kref = s.kref WHERE o.owner = ?1
UNION SELECT name FROM subclusters WHERE is_system AND bootstrap = ?1
"""
_DEAD_LETTERS = """
SELECT d.*, v.name FROM dead_letters d LEFT JOIN vats v ON v.id = d.vat ORDER BY number DESC LIMIT ?
"""
_DEAD_LETTER_AFTER = """
SELECT d.number, d.vat, d.reason, v.name, v.state, v.faults, v.options FROM dead_letters d JOIN vats v ON v.id = d.vat
WHERE d.number > ? AND d.vat = ? ORDER BY d.number DESC LIMIT 1
"""
_SUSPENDED_RECEIVER = """
SELECT id FROM vats WHERE state = 'suspended' AND id = coalesce(
    (SELECT owner FROM objects WHERE kref = ?1), (SELECT bootstrap FROM subclusters WHERE ?1 IN (id, name)),
    (SELECT id FROM vats WHERE ?1 IN (id, name) AND state <> 'terminated'))
"""
_QUEUE = """
SELECT q.seq, q.place, q.kind, q.cause, q.target, q.method, q.body, q.slots, q.result
FROM queue q LEFT JOIN objects o ON o.kref = q.target
WHERE q.vat = ?1 OR q.place = ?1 OR o.owner = ?1 ORDER BY q.seq LIMIT 100
"""
_HOLDS = """
SELECT c.kref, c.vref, o.owner, own.vref AS owner_vref, o.gone, r.name AS root_of
FROM clist c JOIN objects o ON o.kref = c.kref LEFT JOIN clist own ON own.kref = o.kref AND own.vat = o.owner
LEFT JOIN vats r ON r.root = o.kref
WHERE c.vat = ? AND c.vref GLOB 'o-*' AND c.reachable ORDER BY length(c.kref), c.kref LIMIT ?
"""
_HOLDS_OF = """
SELECT o.owner, v.name, count(*) AS count FROM clist c JOIN objects o ON o.kref = c.kref LEFT JOIN vats v ON v.id = o.owner
WHERE c.vat = ? AND c.vref GLOB 'o-*' AND c.reachable GROUP BY o.owner ORDER BY length(o.owner), o.owner
"""
_HELD_BY = """
SELECT c.vat, v.name, count(*) AS count FROM objects o JOIN clist c ON c.kref = o.kref AND c.vref GLOB 'o-*' AND c.reachable
LEFT JOIN vats v ON v.id = c.vat WHERE o.owner = ? GROUP BY c.vat ORDER BY c.vat
"""
_HELD_OUTSIDE = """
SELECT c.vat, v.name, count(*) AS count FROM vats own JOIN objects o ON o.owner = own.id
JOIN clist c ON c.kref = o.kref AND c.vref GLOB 'o-*' AND c.reachable JOIN vats v ON v.id = c.vat
WHERE own.subcluster = ?1 AND v.subcluster IS NOT ?1 GROUP BY c.vat ORDER BY c.vat
"""
_OBJECTS = """
SELECT o.kref, o.owner, v.name AS owner_name, own.vref AS owner_vref, o.gone,
       CAST(substr(o.kref, 3) AS INTEGER) AS number, r.name AS root_of
FROM objects o LEFT JOIN vats v ON v.id = o.owner LEFT JOIN clist own ON own.kref = o.kref AND own.vat = o.owner
LEFT JOIN vats r ON r.root = o.kref
WHERE number > ?1 AND (?2 = '' OR o.owner = ?2 OR EXISTS (SELECT 1 FROM clist c WHERE c.kref = o.kref AND c.vat = ?2))
ORDER BY number LIMIT ?3
"""
_OBJECT = """
SELECT o.kref, o.owner, v.name AS owner_name, c.vref AS owner_vref, o.reachable, o.recognizable, o.gone,
       r.name AS root_of, p.kref IS NOT NULL AS pinned
FROM objects o LEFT JOIN vats v ON v.id = o.owner LEFT JOIN clist c ON c.kref = o.kref AND c.vat = o.owner
LEFT JOIN vats r ON r.root = o.kref LEFT JOIN pins p ON p.kref = o.kref WHERE o.kref = ?
"""
_HOLDERS = """
SELECT c.vat, v.name, c.vref, c.reachable FROM clist c LEFT JOIN vats v ON v.id = c.vat
WHERE c.kref = ? AND c.vref GLOB 'o-*' ORDER BY length(c.vat), c.vat LIMIT ?
"""
_STORED_AS = """
SELECT s.value FROM clist c JOIN vatstore s ON s.vat = c.vat AND s.key = CAST('r' || c.vref AS BLOB)
WHERE c.kref = ? AND c.vref GLOB 'o-*' ORDER BY length(c.vat), c.vat
"""
_EDGES = """
SELECT c.vat AS source, o.owner AS target, count(*) AS count FROM clist c JOIN objects o ON o.kref = c.kref
WHERE c.vref GLOB 'o-*' AND c.reachable AND o.owner IS NOT NULL AND o.owner <> c.vat GROUP BY 1, 2
ORDER BY length(c.vat), c.vat, length(o.owner), o.owner
"""
_PROMISES = """
SELECT p.kref, p.decider, v.name AS decider_name, p.refs,
       (SELECT count(*) FROM queue q WHERE q.place = p.kref) AS parked,
       CAST(substr(p.kref, 3) AS INTEGER) AS number
FROM promises p LEFT JOIN vats v ON v.id = p.decider WHERE p.state = 'unresolved' ORDER BY number * ?2 LIMIT ?1
"""
_CARRIERS = """
SELECT q.result, v.id AS vat, v.name FROM queue q LEFT JOIN objects o ON o.kref = q.target
JOIN vats v ON v.id = coalesce(q.vat, o.owner)
WHERE q.result IS NOT NULL AND instr(' ' || ?1 || ' ', ' ' || q.result || ' ')
"""
_WAITS = """
SELECT s.subscriber AS vat, p.decider, min(CAST(substr(p.kref, 3) AS INTEGER)) AS oldest
FROM promises p JOIN subscribers s ON s.promise = p.kref
WHERE p.state = 'unresolved' AND p.decider GLOB 'v*' AND s.subscriber GLOB 'v*' GROUP BY 1, 2
"""
_WAITING = """
SELECT s.subscriber, v.name FROM subscribers s LEFT JOIN vats v ON v.id = s.subscriber WHERE s.promise = ? ORDER BY s.position
"""
