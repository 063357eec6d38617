"""Metrics of a kernel, for Prometheus. Needs the extra `ocap[metrics]`.

`registry(kernel)` is for a program that has its own way of showing them, `serve(kernel, port)` shows them over
HTTP under trio. What the kernel counts is copied; what only the database knows is read on a connection and a
thread of its own, so that the kernel does not wait. A kernel in memory has one connection: it is read between
two cranks.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import apsw
import trio
from attrs import frozen

from ocap.extras import extra
from ocap.host.kernel import Kernel
from ocap.legible import safe_text
from ocap.log.entry import OPS
from ocap.loopback import listen, port_of
from ocap.protocol.errors import KernelClosedError, StoreError
from ocap.protocol.refs import VatId
from ocap.ring.tally import SECONDS, Histogram
from ocap.store.marks import Marks
from ocap.store.sqlite import open_read_only

with extra("metrics"):
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0, generate_latest
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector

    from ocap.http_server import Limits, serve_http

_QUEUES = """
SELECT
    CASE WHEN place = '' THEN 'run' WHEN place GLOB 'kp*' THEN 'promise' ELSE 'suspended' END,
    CASE WHEN place GLOB 'v*' THEN place ELSE coalesce(queue.vat, owner, decider, '') END,
    count(*), min(seq)
FROM queue LEFT JOIN objects ON objects.kref = queue.target LEFT JOIN promises ON promises.kref = queue.target
GROUP BY 1, 2
"""
_COUNTS = {
    "objects": "SELECT coalesce(owner, ''), count(*) FROM objects GROUP BY 1",
    "promises": "SELECT state, count(*) FROM promises GROUP BY 1",
    "clist": "SELECT vat, count(*) FROM clist GROUP BY 1",
    "gc_actions": "SELECT vat, count(*) FROM gc_actions GROUP BY 1",
    "dead_letters": "SELECT vat, count(*) FROM dead_letters GROUP BY 1",
    "vats": "SELECT state, count(*) FROM vats WHERE id GLOB 'v*' GROUP BY 1",
}
_OLDEST_PROMISES = """
SELECT coalesce(decider, ''), min(CAST(substr(kref, 3) AS INTEGER)) FROM promises WHERE state = 'unresolved' GROUP BY 1
"""
_VATS = "SELECT id, name, coalesce(subcluster, '') FROM vats WHERE id GLOB 'v*' AND state <> 'terminated'"


MAX_CONNECTIONS = 16
"""To the port at a time. They are served by the kernel's own process."""

PAUSE = 0.05
"""Seconds between two connections, of one request each: whoever asks without end has a small part of the kernel's time."""

_one_at_a_time = trio.CapacityLimiter(1)
"""Of a large database each reading takes seconds of a processor, which the kernel needs too."""


@frozen
class _Stored:
    """What the database says, at one moment."""

    queues: list[tuple[str, str, int, int]]
    counts: Mapping[str, list[tuple[str, int]]]
    vats: list[tuple[str, str, str]]
    oldest_promises: list[tuple[str, int]]
    marks: Marks


def _read(db: apsw.Connection) -> _Stored:
    def rows(query: str) -> list[Any]:
        return db.execute(query).fetchall()

    counts = {name: rows(query) for name, query in _COUNTS.items()}
    return _Stored(rows(_QUEUES), counts, rows(_VATS), rows(_OLDEST_PROMISES), Marks.read(db))


def _read_file(path: str | os.PathLike[str]) -> _Stored:
    db = open_read_only(path)
    try:
        db.execute("BEGIN")  # all of one moment
        return _read(db)
    finally:
        db.close()


def _read_memory(kernel: Kernel) -> _Stored:
    kernel.census()  # which writes what is in memory
    return _read(kernel._backend.connection)


# ---- as metrics -----------------------------------------------------------------------------------


def registry(kernel: Kernel) -> CollectorRegistry:
    """The metrics of a kernel, for prometheus_client. Collect them on the kernel's thread.

    Counts by vat begin with this call, those of cranks and commits with the kernel.
    """
    kernel.tally()
    found = CollectorRegistry()
    found.register(_Live(kernel))
    return found


async def exposition(kernel: Kernel) -> bytes:
    """The metrics of a kernel, in Prometheus's text format. The database is read in a thread."""
    path = kernel.status()["path"]
    if path is None:
        stored = _read_memory(kernel)
    else:
        stored = await trio.to_thread.run_sync(_read_file, path, limiter=_one_at_a_time)
    found = CollectorRegistry()
    found.register(_Families(list(_families(kernel, stored))))
    return generate_latest(found)


class _Live(Collector):
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def collect(self) -> Iterable[Metric]:
        path = self._kernel.status()["path"]
        return _families(self._kernel, _read_memory(self._kernel) if path is None else _read_file(path))

    def describe(self) -> Iterable[Metric]:
        return ()


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(kernel: Kernel, stored: _Stored) -> Iterable[Metric]:
    tally, stats, status = kernel.tally(), kernel.stats(), kernel.status()
    yield _counter("cranks", "Cranks since the kernel was opened.", {(): stats["cranks"]})
    yield _counter("commits", "Commits since the kernel was opened.", {(): stats["commits"]})
    yield _histogram("crank_seconds", "How long a vat's crank took.", tally.cranks)
    yield _counter("vat_seconds", "How long a vat's cranks took, together.", _by_vat(tally.seconds), "vat")
    longest = "How long a vat's longest crank took."
    yield _gauge("vat_longest_crank_seconds", longest, _by_vat(tally.longest), "vat")
    yield _histogram("commit_seconds", "How long a commit took.", tally.commits)
    yield _counter("deliveries", "Deliveries to vats.", _by_op(tally.deliveries), "vat", "op")
    yield _counter("syscalls", "Syscalls of vats.", _by_op(tally.syscalls), "vat", "op")
    yield _counter(
        "slow_cranks",
        "Cranks that took so long that the log tells of it.",
        {(v,): n for v, n in tally.slow.items()},
        "vat",
    )
    for kind, name, text in (
        ("fault", "faults", "Cranks undone because the vat broke a rule or a limit."),
        ("error", "errors", "Exceptions that behaviours raised."),
        ("terminate", "terminations", "Vats that ended for good."),
    ):
        counts = {(vat,): count for (vat, its), count in tally.events.items() if its == kind}
        yield _counter(name, text, counts, "vat")
    yield from _waiting(stored)
    for name, table, text, label in (
        ("objects", "objects", "Objects, by the vat that exports them; none for orphans.", "vat"),
        ("promises", "promises", "Promises.", "state"),
        ("clist_entries", "clist", "Names that a vat has.", "vat"),
        ("gc_actions", "gc_actions", "References whose end a vat is still to be told.", "vat"),
        ("dead_letters", "dead_letters", "Deliveries whose crank faulted.", "vat"),
        ("vats", "vats", "Vats.", "state"),
    ):
        yield _gauge(name, text, {(key,): count for key, count in stored.counts[table]}, label)
    yield _gauge("workers", "Vats with a heap.", {(): status["workers"]})
    yield _gauge("service_calls", "Calls to services under way.", {(): status["service_calls"]})
    yield _gauge("unanswered", "Promises the host program waits for.", {(): status["unanswered"]})
    yield _gauge("idle", "1 if there is nothing to do.", {(): int(status["idle"])})
    vats = InfoMetricFamily("ocap_vat", "Vats that are not terminated.", labels=["vat"])
    for vat, vat_name, subcluster in stored.vats:
        vats.add_metric([vat], {"name": safe_text(vat_name), "subcluster": subcluster})
    yield vats


def _waiting(stored: _Stored) -> Iterable[Metric]:
    lengths = {(queue, vat): count for queue, vat, count, _ in stored.queues}
    ages = {(queue, vat): stored.marks.age("queue", oldest).seconds for queue, vat, _, oldest in stored.queues}
    text = "by where they wait: run, promise (for its settlement), suspended (for the vat's resumption)"
    yield _gauge("queue_items", f"Items {text}.", lengths, "queue", "vat")
    yield _gauge("queue_oldest_seconds", f"Age of the oldest item, at least, {text}.", ages, "queue", "vat")
    unsettled = {(vat,): stored.marks.age("promise", oldest).seconds for vat, oldest in stored.oldest_promises}
    text = "Age of the oldest promise that is not settled, at least, by the vat that decides it; none for a message under way."
    yield _gauge("promise_oldest_seconds", text, unsettled, "vat")


Values = Mapping[Any, float]
"""By the values of the labels."""


def _by_vat(values: Mapping[VatId, float]) -> dict[tuple[str], float]:
    return {(vat,): value for vat, value in values.items()}


def _by_op(counts: Mapping[tuple[VatId, type], int]) -> dict[tuple[str, str], float]:
    return {(vat, OPS[operation]): count for (vat, operation), count in counts.items()}


def _counter(name: str, text: str, values: Values, *labels: str) -> Metric:
    return _with_values(CounterMetricFamily(f"ocap_{name}", text, labels=labels), values)


def _gauge(name: str, text: str, values: Values, *labels: str) -> Metric:
    return _with_values(GaugeMetricFamily(f"ocap_{name}", text, labels=labels), values)


def _with_values(family: Any, values: Values) -> Metric:
    for key, value in values.items():
        family.add_metric(list(key), value)
    result: Metric = family
    return result


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    buckets, count = [], 0
    for bound, more in zip((*map(str, SECONDS), "+Inf"), histogram.counts, strict=True):
        count += more
        buckets.append((bound, count))
    return HistogramMetricFamily(f"ocap_{name}", text, buckets=buckets, sum_value=histogram.total)


# ---- over HTTP ------------------------------------------------------------------------------------


async def serve(
    kernel: Kernel, port: int | socket.socket, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve `/metrics` on the loopback until cancelled. Whoever can log in to this machine can read it.

    Args:
        kernel: entered, or about to be.
        port: 0 for one that is free; or a socket that listens on one.
        task_status: is told the address.

    Raises:
        PortError: the port cannot be had.
    """
    kernel.tally()
    listener = listen(port, "metrics") if isinstance(port, int) else port
    bound = port_of(listener)
    hosts = {f"{name}:{bound}".encode() for name in ("127.0.0.1", "localhost")}

    async def app(scope: Any, _: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        await _answer(kernel, hosts, scope, send)

    task_status.started(f"http://127.0.0.1:{bound}/metrics")
    await serve_http(app, listener, Limits(MAX_CONNECTIONS, is_private=False, waiting=MAX_CONNECTIONS, pause=PAUSE))


async def _answer(kernel: Kernel, hosts: set[bytes], scope: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    given = [value for name, value in scope["headers"] if name == b"host"]
    status, body = 200, b""
    if len(given) != 1 or given[0] not in hosts:
        status, body = 421, b"not known by that name\n"  # a page elsewhere that had its name rebound to us
    elif scope["path"] != "/metrics":
        status, body = 404, b"the metrics are at /metrics\n"
    elif scope["method"] not in ("GET", "HEAD"):
        status, body = 405, b"the metrics can only be read\n"
    else:
        try:
            body = await exposition(kernel)
        except (StoreError, KernelClosedError) as error:
            status, body = 503, f"{error}\n".encode()
    headers = [
        (b"content-type", CONTENT_TYPE_PLAIN_1_0_0.encode() if status == 200 else b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
