"""Metrics count what the log tells, come in Prometheus's format, and do not hold the kernel up."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ocap import DisconnectedError, E, Event, Kernel, load_toml, metrics
from ocap.log import from_event
from ocap.loopback import PortError
from ocap.ring.tally import SECONDS, Histogram
from ocap.store.marks import SPACING
from ocap.verify import verify
from tests.commands import ENVIRONMENT, REPOSITORY, ocap, start_ocap
from tests.ring.clusters import launch, peers

CLUSTERS = REPOSITORY / "tests/clusters"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "k.db"
    yield path
    if path.exists():
        assert verify(path) == []


def parsed(text: bytes) -> Samples:
    families = text_string_to_metric_families(text.decode())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


async def samples(kernel: Kernel) -> Samples:
    return parsed(await metrics.exposition(kernel))


def labelled(found: Samples, name: str) -> dict[tuple[str, ...], float]:
    """The values of a metric by its labels, in the order of the labels' names."""
    return {tuple(value for _, value in labels): number for (its, labels), number in found.items() if its == name}


# ---- what is counted ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["exchange", "patterns"])
async def test_deliveries_and_syscalls_are_those_of_the_log(name: str, path: Path) -> None:
    events: list[Event] = []
    kernel = Kernel(path, log=events.append)
    kernel.tally()
    async with kernel:
        await kernel.launch_subcluster(load_toml(CLUSTERS / name / f"{name}.toml")[name])
        await kernel.idle()
        found = await samples(kernel)
        assert found["ocap_cranks_total", ()] == kernel.stats()["last_crank"] >= events[-1].crank
        assert found["ocap_commits_total", ()] == kernel.stats()["commits"] > 1
        assert 0 < found["ocap_commit_seconds_count", ()] <= found["ocap_commits_total", ()]
    entries = [from_event(event, str) for event in events if event.vat not in ("host", "kernel")]
    for kind, metric in (("deliver", "ocap_deliveries_total"), ("syscall", "ocap_syscalls_total")):
        expected = Counter((it.op, it.vat) for it in entries if it.kind == kind)
        assert labelled(found, metric) == expected
    errors = Counter((it.vat,) for it in entries if it.kind == "error")
    assert labelled(found, "ocap_errors_total") == errors
    took: dict[tuple[str | None], list[float]] = {}
    for number, event in {event.crank: event for event in events if event.kind == "deliver"}.items():
        if number and event.vat not in ("host", "kernel"):
            took.setdefault((event.vat,), []).append(event.took or 0)
    assert labelled(found, "ocap_vat_seconds_total") == {vat: pytest.approx(sum(its)) for vat, its in took.items()}
    assert labelled(found, "ocap_vat_longest_crank_seconds") == {vat: max(its) for vat, its in took.items()}
    delivered = sum(it.kind == "deliver" for it in entries)
    assert found["ocap_crank_seconds_count", ()] == found["ocap_crank_seconds_bucket", (("le", "+Inf"),)] == delivered


async def test_faults_dead_letters_and_terminations_are_counted(path: Path) -> None:
    async with Kernel(path) as kernel:
        kernel.tally()
        subcluster, a, _ = await launch(kernel)
        vat = subcluster.vats["a"].id
        with pytest.raises(DisconnectedError):
            await E(a).flood(40_000_000)
        await kernel.idle()
        found = await samples(kernel)
        assert labelled(found, "ocap_faults_total") == labelled(found, "ocap_dead_letters") == {(vat,): 1}
        await kernel.terminate_vat(vat)
        await kernel.idle()
        assert labelled(await samples(kernel), "ocap_terminations_total") == {(vat,): 1}


async def test_queues_are_measured_by_place_and_by_vat(path: Path) -> None:
    async with Kernel(path) as kernel:
        kernel.tally()
        subcluster, _, b = await launch(kernel)
        vats = {name: vat.id for name, vat in subcluster.vats.items()}
        await kernel.suspend_vat(vats["b"])
        waiting = [E(b).get("other") for _ in range(3)]
        await kernel.idle()
        begin = trio.current_time()
        await trio.sleep(0.3)
        found = await samples(kernel)
        slept = trio.current_time() - begin
        assert labelled(found, "ocap_queue_items") == {("suspended", vats["b"]): 3}
        (age,) = labelled(found, "ocap_queue_oldest_seconds").values()
        assert 0.3 - 2 * SPACING / 1000 <= age <= slept + 5
        waits = labelled(found, "ocap_promise_oldest_seconds")
        assert set(waits) == {("",)}
        assert age <= waits[("",)] <= slept + 5
        assert labelled(found, "ocap_vats") == {("live",): 1, ("suspended",): 1}
        await kernel.resume_vat(vats["b"])
        for promise in waiting:
            await promise
        await kernel.idle()
        assert labelled(await samples(kernel), "ocap_queue_items") == {}


async def test_queues_of_promises_and_of_the_kernel_are_measured(path: Path) -> None:
    async with Kernel(path) as kernel:
        kernel.tally()
        subcluster, a, b = await launch(kernel)
        vat = subcluster.vats["a"].id
        name = E(E(a).later("x")).get_name()
        await kernel.idle()
        assert labelled(await samples(kernel), "ocap_queue_items") == {("promise", vat): 1}
        await E(a).settle("x", await E(b).make_thing("its name"))
        assert await name == "its name"
        for _ in range(3):
            E.send_only(a).bounce(10_000)
        await E(a).echo()
    kernel = Kernel(path)  # which has not begun to run what was left
    try:
        items = labelled(await samples(kernel), "ocap_queue_items")
        assert {queue for queue, _ in items} == {"run"}
        assert sum(items.values()) == 3
    finally:
        kernel.close()


async def test_ages_go_on_over_a_restart(path: Path) -> None:
    async with Kernel(path) as kernel:
        subcluster, _, b = await launch(kernel)
        await kernel.suspend_vat(subcluster.vats["b"].id)
        E.send_only(b).get("other")
        await kernel.idle()
    begin = trio.current_time()
    await trio.sleep(0.5)
    async with Kernel(path) as kernel:
        await kernel.idle()
        (age,) = labelled(await samples(kernel), "ocap_queue_oldest_seconds").values()
        assert 0.5 - 2 * SPACING / 1000 <= age <= trio.current_time() - begin + 5


async def test_gauges_are_the_census(path: Path) -> None:
    async with Kernel(path) as kernel:
        subcluster, *_ = await launch(kernel)
        await kernel.idle()
        found, census = await samples(kernel), kernel.census()
        assert sum(labelled(found, "ocap_objects").values()) == census["objects"]
        assert sum(labelled(found, "ocap_promises").values()) == census["promises"]
        assert sum(labelled(found, "ocap_clist_entries").values()) == census["clist"]
        expected = {(name, subcluster.id, vat.id) for name, vat in subcluster.vats.items()}
        assert labelled(found, "ocap_vat_info").keys() == expected
        assert found["ocap_idle", ()] == 1
        assert found["ocap_workers", ()] == 2


async def test_collection_is_measured(path: Path) -> None:
    async with Kernel(path) as kernel:
        kernel.tally()
        subcluster, a, b = await launch(kernel)
        vat = subcluster.vats["b"].id
        counter = await E(b).get_counter()
        await kernel.suspend_vat(vat)
        del counter
        gc.collect()
        await E(a).echo()  # what the host has dropped it tells at the next occasion
        await kernel.idle()
        assert labelled(await samples(kernel), "ocap_gc_actions") == {(vat,): 2}  # the drop and the retirement
        await kernel.resume_vat(vat)
        await E(b).echo()  # it is told when it next runs
        await kernel.idle()
        found = await samples(kernel)
        assert labelled(found, "ocap_gc_actions") == {}
        assert labelled(found, "ocap_deliveries_total")["drop_exports", vat] == 1


async def test_who_waits_for_whom_outside_is_measured() -> None:
    class Slow:
        async def answer(self) -> str:
            await goes_on.wait()
            return "late"

    goes_on = trio.Event()
    kernel = Kernel()
    kernel.provide("slow", Slow())
    async with kernel:
        subcluster = await kernel.launch_subcluster(peers(services=("slow",)))
        answer = E(subcluster.root).ask("slow", "answer")
        await kernel.idle()
        found = await samples(kernel)
        assert (found["ocap_service_calls", ()], found["ocap_unanswered", ()]) == (1, 1)
        goes_on.set()
        assert await answer == "late"
        await kernel.idle()
        found = await samples(kernel)
        assert (found["ocap_service_calls", ()], found["ocap_unanswered", ()]) == (0, 0)


async def test_registry_of_a_kernel_in_memory_gives_the_same() -> None:
    async with Kernel() as kernel:
        registry = metrics.registry(kernel)
        await launch(kernel)
        await kernel.idle()
        assert parsed(generate_latest(registry)) == await samples(kernel)


async def test_counting_begins_when_it_is_asked_for(path: Path) -> None:
    async with Kernel(path) as kernel:
        await kernel.launch_subcluster(peers())
        assert kernel._scheduler.tally is None
        found = await samples(kernel)
        assert labelled(found, "ocap_deliveries_total") == {}
        assert found["ocap_cranks_total", ()] > 0


# ---- the tally ------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 10)))
def test_histogram_has_each_duration_in_one_class(durations: list[float]) -> None:
    histogram = Histogram()
    for seconds in durations:
        histogram.add(seconds)
    for index, bound in enumerate(SECONDS):
        assert sum(histogram.counts[: index + 1]) == sum(seconds <= bound for seconds in durations)
    assert sum(histogram.counts) == len(durations)
    assert histogram.total == sum(durations)


# ---- over HTTP ------------------------------------------------------------------------------------


async def asked(port: int, request: bytes) -> tuple[int, bytes]:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request)
        answer = b""
        async for chunk in stream:
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def request(port: int, method: str = "GET", path: str = "/metrics", host: str | None = None) -> bytes:
    host = f"127.0.0.1:{port}" if host is None else host.format(port=port)
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


@pytest.fixture
async def served(path: Path) -> Any:
    async with Kernel(path) as kernel, trio.open_nursery() as inner:
        address = await inner.start(metrics.serve, kernel, 0)
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/metrics", address)
        assert found
        yield kernel, int(found[1])
        inner.cancel_scope.cancel()


async def test_metrics_are_served(served: tuple[Kernel, int]) -> None:
    kernel, port = served
    await launch(kernel)
    for host in ("127.0.0.1:{port}", "localhost:{port}"):
        status, body = await asked(port, request(port, host=host))
        assert status == 200
        assert parsed(body)["ocap_cranks_total", ()] > 0


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"host": "evil.example:{port}"}, 421),
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1"}, 421),
        ({"host": ""}, 421),
        ({"host": "127.0.0.1:{port}\r\nHost: evil.example"}, 400),
        ({"path": "/"}, 404),
        ({"path": "/metrics/../etc/passwd"}, 404),
        ({"path": "/%2e%2e/metrics"}, 404),
        ({"method": "POST"}, 405),
        ({"method": "DELETE"}, 405),
        ({"path": "/" + "x" * 20_000}, 404),
    ],
    ids=lambda it: str(it)[:40],
)
async def test_nothing_else_is_served(change: dict[str, str], status: int, served: tuple[Kernel, int]) -> None:
    _, port = served
    found, body = await asked(port, request(port, **change))
    assert found == status
    assert b"ocap_" not in body


async def test_head_has_no_body(served: tuple[Kernel, int]) -> None:
    _, port = served
    assert await asked(port, request(port, "HEAD")) == (200, b"")


async def test_port_is_the_loopbacks_only(served: tuple[Kernel, int]) -> None:
    _, port = served
    with pytest.raises(OSError):
        await trio.open_tcp_stream("127.0.0.2", port)


async def test_port_that_is_taken_is_named(served: tuple[Kernel, int]) -> None:
    kernel, port = served
    for bad, reason in ((port, "address already in use"), (70_000, "no such port: they go"), (-1, "no such port")):
        with pytest.raises(PortError, match=f"^metrics: port {bad}: {reason}"):
            await metrics.serve(kernel, bad)


async def test_kernel_goes_on_while_the_database_is_read(
    served: tuple[Kernel, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, port = served
    _, a, _ = await launch(kernel)
    read, is_reading, may_read = metrics._read_file, trio.Event(), trio.Event()

    def slow(path: Any) -> Any:
        trio.from_thread.run_sync(is_reading.set)
        trio.from_thread.run(may_read.wait)
        return read(path)

    monkeypatch.setattr(metrics, "_read_file", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked, port, request(port))
        await is_reading.wait()
        before = kernel.stats()["cranks"]
        for _ in range(20):
            await E(a).get("b")
        assert kernel.stats()["cranks"] >= before + 20
        may_read.set()


async def test_who_asks_without_end_has_a_small_part_of_the_kernels_time(served: tuple[Kernel, int]) -> None:
    _, port = served
    answers = 0

    async def ask() -> None:
        nonlocal answers
        while True:
            await asked(port, request(port))
            answers += 1

    began = trio.current_time()
    with trio.move_on_after(1.5):
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(ask)
    assert 0 < answers <= (trio.current_time() - began) / metrics.PAUSE + 2


async def test_kernel_that_was_left_answers_that_it_is_over(path: Path) -> None:
    kernel = Kernel(path)
    async with trio.open_nursery() as nursery:
        async with kernel:
            address = await nursery.start(metrics.serve, kernel, 0)
        path.unlink()
        port = int(address.split(":")[2].partition("/")[0])
        status, body = await asked(port, request(port))
        assert (status, b"no such file" in body) == (503, True)
        nursery.cancel_scope.cancel()


# ---- on the command line --------------------------------------------------------------------------


def test_run_serves_metrics(tmp_path: Path) -> None:
    with start_ocap("run", REPOSITORY / "examples/bank/bank.toml", "--db", tmp_path / "k.db", "--metrics", "0") as run:
        try:
            assert run.stderr is not None
            line = run.stderr.readline()
            assert line.startswith("ocap: metrics at http://127.0.0.1:")
            with urllib.request.urlopen(line.split()[-1], timeout=30) as answer:
                assert answer.headers["content-type"].startswith("text/plain; version=")
                found = parsed(answer.read())
            assert ("ocap_cranks_total", ()) in found
        finally:
            run.terminate()
            run.communicate(timeout=60)
    assert run.returncode == 130
    assert verify(tmp_path / "k.db") == []


def test_run_on_a_port_that_cannot_be_had() -> None:
    done = ocap("run", REPOSITORY / "examples/hello/hello.toml", "--metrics", "70000")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ocap: metrics: port 70000: no such port: they go from 0 to 65535\n"


@pytest.mark.parametrize("missing", ["prometheus_client", "hypercorn"])
def test_missing_extra_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from ocap.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "run", str(REPOSITORY / "examples/hello/hello.toml")]
    for option, expected in (([], 0), (["--metrics", "0"], 2)):
        done = subprocess.run(
            [*command, *option], capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT
        )
        assert done.returncode == expected
        if expected:
            assert (
                done.stderr
                == f"ocap: metrics need {missing}, which is not installed; the extra ocap[metrics] brings it: pip install '.[metrics]' in the source's folder\n"
            )


# ---- in the documentation -------------------------------------------------------------------------


async def test_page_lists_every_metric_and_no_other() -> None:
    async with Kernel() as kernel:
        text = (await metrics.exposition(kernel)).decode()
    names = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    page = (REPOSITORY / "docs/reference/metrics.md").read_text()
    listed = {
        name for row in re.findall(r"^\| (`ocap_.*?) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert listed == names


async def test_database_is_read_for_one_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for the metrics many times at once takes no more than one processor."""
    reading, most, read = 0, 0, metrics._read_file

    def counted(db: str) -> Any:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        time.sleep(0.02)  # so that others would come in between
        found = read(db)
        reading -= 1
        return found

    monkeypatch.setattr(metrics, "_read_file", counted)
    async with Kernel(path, durability="process") as kernel, trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(metrics.exposition, kernel)
    assert most == 1
