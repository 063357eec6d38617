"""What is printed: the table of ratios, a profile, or everything as JSON."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from typing import Any

import trio
from attrs import asdict
from rich.console import Console
from rich.table import Table

from benchmarks.layers import LAYERS, Profile
from benchmarks.measure import Measurement

TOP = 40
"""Functions of a profile that are shown: further ones take less than a hundredth each."""


def print_table(measurements: list[Measurement], console: Console, *, gc: bool) -> None:
    """One row a case: median of the repetitions, least and greatest in brackets."""
    repeat = measurements[0].task.repeat
    table = Table(title=f"ratio to raw trio in the same process; median of {repeat} [least-greatest]")
    table.add_column("case")
    table.add_column("store")
    for column in ("ratio", "", "per second", "of", "us a crank", "cranks a commit", *(["gc"] if gc else [])):
        table.add_column(column, justify="left" if column in ("", "of") else "right", no_wrap=True)
    for m in measurements:
        ratio, least, greatest = m.of(lambda r: r.ratio)
        cells = [
            *(m.task.case, m.task.store, f"{ratio:.4f}", f"[{least:.4f}-{greatest:.4f}]".replace("[", r"\[")),
            *(f"{m.of(lambda r: r.value)[0]:,.0f}", m.unit),
            f"{m.of(lambda r: r.seconds / max(r.cranks, 1) * 1e6)[0]:.0f}",
            f"{m.of(lambda r: r.cranks / max(r.commits, 1))[0]:.0f}",
        ]
        if gc:
            cells.append(f"{m.of(lambda r: r.gc_seconds / r.seconds)[0]:.1%}")
        table.add_row(*cells)
    console.print(table)
    anchors = sorted(r.anchor for m in measurements for r in m.repetitions)
    line = f"anchor: {anchors[len(anchors) // 2]:,.0f} round trips/s [{anchors[0]:,.0f}-{anchors[-1]:,.0f}]"
    syncs = sorted(m.syncs for m in measurements if m.syncs is not None)
    if syncs:
        line += f"; disk: {syncs[len(syncs) // 2]:,.0f} synced 4 KB writes/s"
    console.print(f"{line}; {_machine()}", highlight=False, markup=False, soft_wrap=True)
    for m in measurements:
        memory = m.repetitions[0].memory
        if m.unit == "vats" and m.task.store == "memory" and memory is not None:
            size = memory / m.repetitions[0].size / 1024
            console.print(
                f"{m.task.name}: {size:.0f} KB of memory a live vat, in the first repetition", highlight=False
            )


def print_profile(profile: Profile, console: Console) -> None:
    layers = Table(title=f"{profile.task.name}: {profile.cranks:,} cranks, by layer")
    for column in ("layer", "by samples", "by cProfile"):
        layers.add_column(column, justify="left" if column == "layer" else "right")
    for layer in sorted(LAYERS, key=lambda layer: profile.sampled[layer], reverse=True):
        layers.add_row(layer, f"{profile.sampled[layer]:.1%}", f"{profile.profiled[layer]:.1%}")
    console.print(layers)
    functions = Table(title="by function, under cProfile, without what it calls")
    for column in ("share", "us a crank", "calls a crank", "layer", "function"):
        functions.add_column(column, justify="left" if column in ("layer", "function") else "right", no_wrap=True)
    total = sum(line.own for line in profile.functions)
    cranks = max(profile.cranks, 1)
    for line in profile.functions[:TOP]:
        share, each, calls = line.own / total, line.own / cranks * 1e6, line.calls / cranks
        functions.add_row(f"{share:.1%}", f"{each:.2f}", f"{calls:.2f}", line.layer, line.where.replace("[", r"\["))
    console.print(functions)


def to_json(measurements: list[Measurement]) -> str:
    """One line with every repetition."""
    return json.dumps({"machine": _machine(), "cases": [_case(m) for m in measurements]})


def profile_to_json(profile: Profile) -> str:
    task = asdict(profile.task) | {"folder": str(profile.task.folder)}
    return json.dumps(asdict(profile) | {"task": task})


def _case(m: Measurement) -> dict[str, Any]:
    ratio, least, greatest = m.of(lambda r: r.ratio)
    return {
        "case": m.task.case,
        "store": m.task.store,
        "unit": m.unit,
        "ratio": ratio,
        "ratio_least": least,
        "ratio_greatest": greatest,
        "value": m.of(lambda r: r.value)[0],
        "anchor": m.of(lambda r: r.anchor)[0],
        "gc_share": m.of(lambda r: r.gc_seconds / r.seconds)[0],
        "syncs": m.syncs,
        "repetitions": [asdict(repetition) for repetition in m.repetitions],
    }


def _machine() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return (
        f"{python}, trio {trio.__version__}, cbor2 {version('cbor2')}, apsw {version('apsw')}, {os.cpu_count()} cores"
    )
