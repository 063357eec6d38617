"""The log as traces: a crank is a span, its cause the parent, a send a link."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from ocap import DisconnectedError, E, Event, Kernel, load_toml
from ocap.otel import REMEMBERED, Tracing
from ocap.protocol import deliveries, syscalls
from ocap.verify import verify
from tests.commands import REPOSITORY
from tests.log.made import V1, every_event
from tests.ring.clusters import launch

EXCHANGE = REPOSITORY / "tests/clusters/exchange/exchange.toml"


class Traced:
    """A bridge, and what came out of it."""

    def __init__(self, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(lambda vat: f"name of {vat}", self.provider, **options)

    def spans(self) -> dict[int, ReadableSpan]:
        """The spans by their cranks."""
        found = self.exporter.get_finished_spans()
        by_crank = {attribute(span, "ocap.crank"): span for span in found}
        assert len(by_crank) == len(found)  # one each
        return by_crank


def attribute(span: ReadableSpan, name: str) -> Any:
    return (span.attributes or {}).get(name)


@pytest.fixture
def traced() -> Iterator[Traced]:
    traced = Traced()
    yield traced
    traced.provider.shutdown()


async def exchanged(traced: Traced, path: Path | None = None) -> tuple[list[Event], dict[int, ReadableSpan]]:
    events: list[Event] = []

    def both(event: Event) -> None:
        events.append(event)
        traced.tracing(event)

    async with Kernel(path, log=both) as kernel:
        await kernel.launch_subcluster(load_toml(EXCHANGE)["exchange"])
        await kernel.idle()
    traced.tracing.flush()
    return events, traced.spans()


async def test_every_crank_is_a_span_with_its_times(traced: Traced, tmp_path: Path) -> None:
    events, spans = await exchanged(traced, tmp_path / "k.db")
    cranks = {event.crank: event for event in reversed(events) if event.crank}
    assert spans.keys() == cranks.keys()
    for crank, span in spans.items():
        event = cranks[crank]
        assert event.time is not None
        assert event.took is not None
        assert span.start_time == round(event.time * 1e9)
        assert span.end_time == span.start_time + round(event.took * 1e9)
        assert attribute(span, "ocap.vat") == event.vat
        assert span.name.startswith(f"name of {event.vat} ")
    assert verify(tmp_path / "k.db") == []


async def test_parent_is_the_cause_and_what_the_host_sets_off_is_one_trace(traced: Traced) -> None:
    events, spans = await exchanged(traced)
    causes = {event.crank: event.cause for event in events}
    for crank, span in spans.items():
        cause = causes[crank]
        if cause == 0:
            assert span.parent is None
        else:
            assert span.parent is not None
            assert span.parent.span_id == spans[cause].context.span_id
            assert span.context.trace_id == spans[cause].context.trace_id
    roots = [span for span in spans.values() if span.parent is None]
    assert len({span.context.trace_id for span in spans.values()}) == len(roots) > 1


async def test_a_send_is_a_link_to_the_crank_it_was_sent_in(traced: Traced) -> None:
    events, spans = await exchanged(traced)
    sent = {}
    links = 0
    for event in events:
        match event:
            case Event(kind="syscall", crank=crank, kernel=syscalls.Send(result=str(result))) if crank:
                sent[result] = crank
            case Event(kind="deliver", crank=crank, kernel=deliveries.Message(result=str(result))) if result in sent:
                (link,) = spans[crank].links
                assert link.context.span_id == spans[sent[result]].context.span_id
                links += 1
    assert links > 10
    assert links == sum(len(span.links) for span in spans.values())


async def test_syscalls_are_events_of_the_span(traced: Traced) -> None:
    events, spans = await exchanged(traced)
    for crank, span in spans.items():
        made = [event for event in events if event.crank == crank and event.kind == "syscall"]
        told = [event for event in span.events if event.name not in ("log", "exception")]
        assert len(told) == len(made)
        for one, event in zip(told, made, strict=True):
            assert one.timestamp == span.end_time
            assert (one.attributes or {}).get("ocap.method") == getattr(event.kernel, "method", None)


async def test_exception_of_a_behaviour_is_an_error_of_its_span(traced: Traced) -> None:
    async with Kernel(log=traced.tracing) as kernel:
        _, a, _ = await launch(kernel)
        with pytest.raises(LookupError):
            await E(a).fail("no luck")
    traced.tracing.flush()
    (span,) = [it for it in traced.spans().values() if it.status.status_code is StatusCode.ERROR]
    assert attribute(span, "ocap.method") == "fail"
    (event,) = [it for it in span.events if it.name == "exception"]
    assert "no luck" in str((event.attributes or {})["exception.stacktrace"])


async def test_fault_is_an_error_of_its_span(traced: Traced) -> None:
    async with Kernel(log=traced.tracing) as kernel:
        _, a, _ = await launch(kernel)
        with pytest.raises(DisconnectedError):
            await E(a).flood(40_000_000)
    traced.tracing.flush()
    (span,) = [it for it in traced.spans().values() if it.status.status_code is StatusCode.ERROR]
    assert span.name.endswith(" flood")
    assert [event.name for event in span.events] == ["fault"]


async def test_last_crank_is_told_without_waiting_for_the_next(traced: Traced) -> None:
    async with Kernel(log=traced.tracing) as kernel:
        _, a, _ = await launch(kernel)
        await E(a).echo(1)
        await kernel.idle()
        assert kernel.stats()["last_crank"] in traced.spans()


@pytest.mark.parametrize("messages", [False, True])
async def test_contents_of_messages_are_told_only_if_asked_for(messages: bool) -> None:
    traced = Traced(messages=messages)
    async with Kernel(log=traced.tracing) as kernel:
        _, a, _ = await launch(kernel)
        await E(a).echo("a secret")
    traced.tracing.flush()
    told = "".join(span.to_json() for span in traced.spans().values())
    assert ("a secret" in told) == messages
    traced.provider.shutdown()


def test_every_kind_of_entry_can_be_told(traced: Traced) -> None:
    for number, event in enumerate(every_event(), 1):
        traced.tracing(
            Event(number, number - 1, *(getattr(event, it) for it in ("kind", "vat", "kernel", "vat_side", "text")))
        )
    traced.tracing.flush()
    assert traced.spans().keys() == set(range(1, len(every_event()) + 1))


def test_what_is_remembered_is_bounded(traced: Traced) -> None:
    for number in range(1, REMEMBERED + 100):
        traced.tracing(Event(number, 1, "log", V1, text="x"))
    traced.tracing.flush()
    spans = traced.spans()
    assert len(traced.tracing._contexts) == REMEMBERED
    assert spans[2].parent is not None
    assert spans[REMEMBERED + 50].parent is None  # its cause is forgotten: it begins a trace
