"""The greeters, traced: one line for each span, under the span of the crank that caused it."""

from __future__ import annotations

from pathlib import Path

import trio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ocap import E, Kernel, load_toml
from ocap.otel import Tracing

GREETERS = load_toml(Path(__file__).with_name("hello.toml"))


async def main() -> None:
    spans = InMemorySpanExporter()  # or the exporter of Jaeger, Tempo, Honeycomb…
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    async with Kernel() as kernel:
        tracing = Tracing(kernel.vat_name, provider)
        kernel.observe(tracing)
        hello = await kernel.launch_subcluster(GREETERS["hello"])
        await E(hello.root).greet("host program")
    tracing.flush()
    provider.shutdown()

    depth: dict[int | None, int] = {None: -1}
    for span in spans.get_finished_spans():
        above = depth[span.parent and span.parent.span_id]
        depth[span.context.span_id] = above + 1
        print("  " * (above + 1) + span.name)


if __name__ == "__main__":
    trio.run(main)
