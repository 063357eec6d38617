"""What a kernel is doing, as a text for people: its vats, what waits and for what, what went wrong.

Read from the rows alone, with a bounded number of lines for each kind of thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from ocap.legible import safe_text
from ocap.protocol.refs import HOST, KERNEL, sort_key
from ocap.store.marks import Kind, Marks

LINES = 50
"""Lines that each part of a dump has at most; how many more there are is said."""

WIDTH = 60
"""Characters of one field of a dump."""

_NO_VATS = frozenset({HOST, KERNEL})

Query = Callable[[str], Sequence[Sequence[Any]]]

_SUBCLUSTERS = "SELECT id, name, state FROM subclusters ORDER BY length(id), id"
_VATS = """
SELECT id, name, subcluster, state, incarnation, faults,
    (SELECT count(*) FROM queue WHERE place = vats.id),
    (SELECT count(*) FROM promises WHERE decider = vats.id AND state = 'unresolved'), reason
FROM vats WHERE state <> 'terminated' AND id GLOB 'v*' ORDER BY length(id), id
"""
_RUN_QUEUE = "SELECT seq, kind, vat, target, method, result, cause FROM queue WHERE place = '' ORDER BY seq"
_PROMISES = """
SELECT kref, decider,
    (SELECT group_concat(subscriber, ' ') FROM subscribers WHERE promise = kref),
    (SELECT count(*) FROM queue WHERE place = kref)
FROM promises WHERE state = 'unresolved' ORDER BY length(kref), kref
"""
_GC_ACTIONS = "SELECT vat, kind, count(*) FROM gc_actions GROUP BY vat, kind ORDER BY length(vat), vat"
_DEAD_LETTERS = "SELECT number, crank, vat, target, method, reason FROM dead_letters ORDER BY number DESC"

_PARTS: tuple[tuple[str, str, tuple[str, ...], tuple[Kind, int] | None], ...] = (
    ("subclusters", _SUBCLUSTERS, ("id", "name", "state"), None),
    (
        "vats",
        _VATS,
        ("id", "name", "subcluster", "state", "incarnation", "faults", "held back", "decides", "why suspended"),
        None,
    ),
    ("run queue", _RUN_QUEUE, ("number", "kind", "vat", "target", "method", "result", "cause"), ("queue", 0)),
    ("promises that wait", _PROMISES, ("promise", "decided by", "heard by", "messages at it"), ("promise", 0)),
    ("collection due", _GC_ACTIONS, ("vat", "kind", "references"), None),
    ("dead letters", _DEAD_LETTERS, ("number", "crank", "vat", "target", "method", "reason"), ("crank", 1)),
)
"""What each part is called, asks for, and calls its columns; and by which kind of number, in which of them, its age is known."""


def dump(
    query: Query,
    *,
    status: Mapping[str, Any],
    stats: Mapping[str, int],
    census: Mapping[str, int],
    heaps: AbstractSet[str],
    marks: Marks,
) -> str:
    """The text, its last line not ended, inert on a terminal.

    Args:
        query: asks the store.
        status: as `Kernel.status`.
        stats: as `Kernel.stats`.
        census: as `Kernel.census`.
        heaps: the vats that have one.
        marks: those of the store.
    """
    state = "idle" if status["idle"] else "at work" if status["running"] else "not running"
    lines = [
        f"kernel {safe_text(status['path'] or 'in memory')}: {state}",
        f"  cranks {stats['cranks']} since it was opened, the last {stats['last_crank']}; commits {stats['commits']}",
        f"  service calls under way {status['service_calls']}; the host waits for {status['unanswered']}",
        f"  vats with a heap: {' '.join(sorted(heaps - _NO_VATS, key=sort_key)) or 'none'}",
        f"  {', '.join(f'{what} {count}' for what, count in census.items())}",
    ]
    for title, statement, columns, dated in _PARTS:
        rows = query(f"{statement} LIMIT {LINES}")
        count = len(rows) if len(rows) < LINES else query(f"SELECT count(*) FROM ({statement})")[0][0]
        if count:
            shown = [columns, *rows]
            if dated is not None:
                kind, place = dated
                ages = [str(marks.age(kind, _number(row[place]))) for row in rows]
                shown = [(row[0], age, *row[1:]) for row, age in zip(shown, ["age", *ages], strict=True)]
            lines += [f"{title}: {count}", *_table(shown)]
        if count > LINES:
            lines.append(f"  and {count - LINES} more")
    return "\n".join(lines)


def _number(name: Any) -> int:
    return name if isinstance(name, int) else int(name[2:])


def _table(rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    shown = [[_field(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        yield "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _field(value: Any) -> str:
    text = safe_text("-" if value is None or value == "" else str(value))
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
