"""`verify`: every invariant of a store recomputed from the file alone.

Nothing here knows how the kernel keeps its books: it reads the tables, counts for itself, and
compares. The rules are numbered V1 to V19 as in the reliability notes the project keeps. V17 is about
sessions with peers and V18 about stored effects, of which a store has none: effects are released when
their crank is committed, and nothing is kept of them. V15 has what V18 says of crank numbers.

Cost: a few sequential scans and sorts, some 200,000 rows a second; what outgrows memory goes to
SQLite's temporary files. The store may be in use: one read transaction is one snapshot.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress

import apsw
from attrs import frozen

from ocap.store.sqlite import open_read_only
from ocap.verify import bodies, counts, layout, names, promises, queue, vatstores
from ocap.verify.finding import Rule
from ocap.verify.holders import count_holders

RULES: tuple[tuple[str, Rule], ...] = (
    ("V19", layout.file_is_sound),
    ("V19", layout.tables_are_ours),
    ("V1", counts.promise_references),
    ("V2", counts.object_counts),
    ("V3", counts.counts_in_order),
    ("V4", names.counted_names_exist),
    ("V4", names.other_names_exist),
    ("V4", names.dead_vats_leave_nothing),
    ("V5", names.clists_are_bijections),
    ("V5", names.vrefs_agree_with_krefs),
    ("V6", names.one_exporter),
    ("V6", names.roots_are_exported),
    ("V7", counts.nothing_unheld),
    ("V7", counts.unheld_is_told),
    ("V8", counts.actions_name_entries),
    ("V9", promises.states),
    ("V9", promises.one_authority),
    ("V10", promises.no_cycles),
    ("V11", promises.subscribers_wait),
    ("V11", promises.followers_are_subscribed),
    ("V12", promises.notifies_name_settled),
    ("V12", promises.settled_are_told),
    ("V13", queue.items_are_whole),
    ("V13", queue.places_exist),
    ("V14", bodies.slots_are_krefs),
    ("V14", bodies.bodies_keep_to_their_slots),
    ("V15", layout.counters_are_ahead),
    ("V15", layout.marks_are_in_order),
    ("V16", vatstores.vatstores_have_vats),
    ("V16", vatstores.references_in_rows_are_counted),
    ("V16", vatstores.durable_objects_in_rows_exist),
)


Told = Callable[[int, int, str], None]
"""Is told how many steps are done, of how many, and the rule that is checked now."""


@frozen
class Problem:
    """One broken invariant.

    Attributes:
        rule: its number.
        key: the row or name it is about.
        expected: what the rest of the store says should be there.
        found: what is there.
    """

    rule: str
    key: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.rule} {self.key}: expected {self.expected}, found {self.found}"


def verify(path: str | os.PathLike[str], told: Told | None = None) -> list[Problem]:
    """Check a database file, which may be in use.

    Args:
        path: the file.
        told: is told how far it is; one rule may take most of the time.

    Returns:
        What is wrong, by rule; nothing if all is well.

    Raises:
        NotOurStoreError: the file is something else.
        StoreVersionError: it has the layout of another version.
        StoreError: it is not there or cannot be read.
    """
    db = open_read_only(path)
    try:
        return verify_connection(db, told)
    finally:
        db.close()


def verify_connection(db: apsw.Connection, told: Told | None = None) -> list[Problem]:
    """Check the store behind an open connection, as that connection sees it."""
    db.execute("SAVEPOINT verify")
    try:
        return list(_problems(db, told or _nobody))
    finally:
        # Takes the temporary tables away too. That a file is corrupt has been found by now.
        with suppress(apsw.CorruptError):
            db.execute("ROLLBACK TO verify")
            db.execute("RELEASE verify")


def _nobody(done: int, of: int, rule: str) -> None:
    """Nobody wants to know."""


def _problems(db: apsw.Connection, told: Told) -> Iterator[Problem]:
    steps = 1 + len(RULES)
    told(0, steps, "holders")
    try:
        count_holders(db)
    except apsw.Error as error:
        yield Problem("V19", "the file", "tables that can be read", str(error))
        return
    for done, (number, rule) in enumerate(RULES, 1):
        told(done, steps, f"{number} {_name(rule)}")
        try:
            yield from (Problem(number, *map(str, finding)) for finding in rule(db))
        except apsw.Error as error:
            yield Problem("V19", _name(rule), "tables that can be read", str(error))


def _name(rule: Rule) -> str:
    return rule.__name__.replace("_", " ")
