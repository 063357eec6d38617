"""The message log as OpenTelemetry traces. Needs the extra `ocap[otel]`.

    kernel.observe(Tracing(kernel.vat_name))

A crank is a span, and the crank that caused it is its parent: what a message of the host sets off is one trace.
A send is a link, from the crank that the message reached to the one that it was sent in, also where that is not
its parent. What a vat logs, the exceptions its behaviours raise and its faults are events of the span; a fault or an
exception makes its status an error.

Spans are made when their crank is told of, after its commit, with the times that it had. The caller brings the
SDK: its provider, processors and exporters; or has them made as the environment says, as `--otel` does.
"""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import entry_points
from typing import Any

import trio
from attrs import define, field

from ocap.extras import extra
from ocap.kernel.effects import Event
from ocap.legible import safe_lines, safe_text
from ocap.log import from_event
from ocap.log.entry import Entry, Fields
from ocap.log.lines import LINE_LENGTH, value_text
from ocap.protocol.errors import ConfigError

with extra("otel"):
    from opentelemetry.sdk import trace as sdk
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
    from opentelemetry.trace import (
        Link,
        NonRecordingSpan,
        Span,
        SpanContext,
        SpanKind,
        Status,
        StatusCode,
        TracerProvider,
        get_tracer_provider,
        set_span_in_context,
    )

REMEMBERED = 10_000
"""Cranks whose spans are known by number, so that those they cause become their children: some 5 MB."""


@define
class _Crank:
    """A crank, as far as it was told of."""

    number: int
    cause: int
    begin: int
    end: int
    entries: list[Entry] = field(factory=list)


class Tracing:
    """Takes the events of a kernel and makes spans of them.

    Args:
        name_of: the name of a vat, from its id: `kernel.vat_name`.
        provider: where the spans go; the global one by default.
        messages: whether methods' arguments and answers are told too, cut to a line. They may be private.
    """

    def __init__(
        self,
        name_of: Callable[[str], str],
        provider: TracerProvider | None = None,
        *,
        messages: bool = False,
    ) -> None:
        self._name_of = name_of
        self._tracer = (provider or get_tracer_provider()).get_tracer("ocap")
        self._messages = messages
        self._contexts: OrderedDict[int, SpanContext] = OrderedDict()
        self._senders: OrderedDict[str, int] = OrderedDict()
        self._open: _Crank | None = None

    def __call__(self, event: Event) -> None:
        """One event, in the order of the log."""
        if event.crank == 0:
            return  # what the host program does between cranks is not ours to trace
        if self._open is not None and self._open.number != event.crank:
            self.flush()
        if self._open is None:
            begin = round((event.time or 0) * 1e9)
            self._open = _Crank(event.crank, event.cause, begin, begin + round((event.took or 0) * 1e9))
            self._flush_soon()
        self._open.entries.append(from_event(event, self._name_of))

    def _flush_soon(self) -> None:
        """All events of a crank are told at once; when other tasks run, it is complete."""
        with suppress(RuntimeError):  # told by something else than a kernel at work, which then calls flush
            trio.lowlevel.current_trio_token().run_sync_soon(self.flush, idempotent=True)

    def flush(self) -> None:
        """Make a span of the last crank, too, if that has not been done. To be called when the kernel was left."""
        crank, self._open = self._open, None
        if crank is not None:
            self._tell(crank)

    def _tell(self, crank: _Crank) -> None:
        head = crank.entries[0]
        parent = self._contexts.get(crank.cause)
        context = None if parent is None else set_span_in_context(NonRecordingSpan(parent))
        span = self._tracer.start_span(
            _name(head),
            context=context,
            kind=SpanKind.CONSUMER,
            attributes=self._attributes(head),
            links=self._links(head),
            start_time=crank.begin,
        )
        for entry in crank.entries:
            self._add(span, entry, crank.end)
        span.end(end_time=crank.end)
        _remember(self._contexts, crank.number, span.get_span_context())

    def _links(self, head: Entry) -> list[Link]:
        if head.op != "message" or head.kernel is None or head.kernel["result"] is None:
            return []
        sender = self._contexts.get(self._senders.pop(head.kernel["result"], 0))
        return [] if sender is None else [Link(sender, {"ocap.link": "send"})]

    def _attributes(self, head: Entry) -> dict[str, Any]:
        found: dict[str, Any] = {"ocap.crank": head.crank, "ocap.cause": head.cause}
        if head.vat is not None:
            found |= {"ocap.vat": head.vat, "ocap.vat.name": safe_text(head.name or "")}
        if head.op is not None:
            found["ocap.op"] = head.op
        fields = head.kernel or {}
        if head.op == "message" and fields:
            found |= {
                "messaging.system": "ocap",
                "ocap.target": fields["target"],
                "ocap.method": safe_text(fields["method"]),
            }
            if fields["result"] is not None:
                found["ocap.result"] = fields["result"]
            if self._messages:
                found["ocap.args"] = value_text(fields["args"])
        return found

    def _add(self, span: Span, entry: Entry, at: int) -> None:
        """What an entry adds to its crank's span."""
        match entry.kind:
            case "syscall":
                span.add_event(entry.op or "", self._details(entry.op or "", entry.kernel or {}), timestamp=at)
                if entry.op == "send" and entry.kernel and entry.kernel["result"] is not None:
                    _remember(self._senders, entry.kernel["result"], entry.crank)
            case "log" | "suspend" | "resume" | "terminate" | "note":
                span.add_event(entry.kind, {"ocap.text": _cut(entry.text)}, timestamp=at)
            case "error":
                error_id, _, traceback = (entry.text or "").partition("\n")
                attributes = {"ocap.error_id": error_id, "exception.stacktrace": safe_lines(traceback)}
                span.add_event("exception", attributes, timestamp=at)
                span.set_status(Status(StatusCode.ERROR, f"a behaviour raised, error {error_id}"))
            case "fault":
                span.add_event("fault", {"ocap.text": _cut(entry.text)}, timestamp=at)
                span.set_status(Status(StatusCode.ERROR, _cut(entry.text)))

    def _details(self, op: str, fields: Fields) -> dict[str, Any]:
        match op:
            case "send":
                found = {"ocap.target": fields["target"], "ocap.method": safe_text(fields["method"])}
                if fields["result"] is not None:
                    found["ocap.result"] = fields["result"]
                if self._messages:
                    found["ocap.args"] = value_text(fields["args"])
                return found
            case "resolve":
                settled: list[Fields] = fields["settlements"]
                found = {
                    "ocap.promises": [it["promise"] for it in settled],
                    "ocap.rejected": [it["rejected"] for it in settled],
                }
                if self._messages:
                    found["ocap.data"] = [value_text(it["data"]) for it in settled]
                return found
        return {f"ocap.{key}": value for key, value in fields.items() if key in ("promise", "to", "refs")}


def _remember(table: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    table[key] = value
    if len(table) > REMEMBERED:
        table.popitem(last=False)


def _name(head: Entry) -> str:
    """Low in number, as names of spans are to be: the vat and the method."""
    fields = head.kernel or head.vatside or {}
    what = fields["method"] if head.op == "message" else head.op or head.kind
    return safe_text(f"{head.name or 'kernel'} {what}")


def _cut(text: str | None) -> str:
    # Inert, and fit for any exporter: half a character would keep the spans of a whole batch from being sent.
    return safe_lines((text or "")[: 10 * LINE_LENGTH])


# ---- as the environment says ----------------------------------------------------------------------

PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
"""How spans go to a collector, and the name of the exporter that sends them so."""


def provider_from_environment() -> sdk.TracerProvider:
    """A provider with the exporters that the variables OTEL_* ask for; its `shutdown` sends what is left.

    The SDK and its exporters read most of them themselves. Of those that a program is to heed, OTEL_TRACES_EXPORTER
    may name several exporters, by default `otlp`; OTEL_EXPORTER_OTLP_PROTOCOL says which of that name, by default
    `http/protobuf`. The service is called `ocap` unless they say otherwise.

    Raises:
        ConfigError: one of them names an exporter that is not installed, or has no possible value.
    """
    asked = os.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    try:
        resource = Resource.create()
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "ocap"}))
        provider = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
        for name in asked.split(","):
            if name.strip() != "none":
                provider.add_span_processor(BatchSpanProcessor(_exporter(name.strip())))
    except ValueError as error:
        raise error if isinstance(error, ConfigError) else ConfigError("OTEL_*", str(error)) from None
    return provider


def _exporter(name: str) -> SpanExporter:
    if name == "console":
        return ConsoleSpanExporter(out=sys.stderr)  # standard output is for what was asked for
    if name == "otlp":
        name = _of_protocol()
    installed = entry_points(group="opentelemetry_traces_exporter")
    found = [it for it in installed if it.name == name]
    if not found:
        names = ", ".join(sorted(installed.names | {"otlp"}))
        raise ConfigError("OTEL_TRACES_EXPORTER", f"no exporter {name} is installed; there are: {names}")
    exporter: SpanExporter = found[0].load()()
    return exporter


def _of_protocol() -> str:
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if asked := os.environ.get(variable, "").strip():
            if asked not in PROTOCOLS:
                raise ConfigError(variable, f"{asked}: is none of {', '.join(PROTOCOLS)}")
            return PROTOCOLS[asked]
    return PROTOCOLS["http/protobuf"]
