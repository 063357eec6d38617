"""`python -m benchmarks`: see docs/performance.md for how to read what it prints."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

try:
    from rich.console import Console
    from rich.progress import Progress
except ImportError:
    sys.exit("python -m benchmarks needs rich: pip install '.[cli]' in the source's folder")

import trio

from benchmarks import report
from benchmarks.cases import CASES, STORES
from benchmarks.layers import profile
from benchmarks.measure import MeasuringError, Task, measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measure import Measurement

REPEAT = 5
QUICK = 20
"""How much smaller a quick run is: enough to see that all works, too little to compare."""


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    names = [*CASES, *(f"{case}/{store}" for case in CASES for store in STORES)]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the kernel, as ratios to raw trio in the same process.",
        epilog=f"CASE is one of {', '.join(CASES)}; add /{' or /'.join(STORES)} for one store only.",
    )
    parser.add_argument("--only", metavar="CASE", action="append", choices=names, help="measure this case (repeatable)")
    parser.add_argument("--repeat", metavar="N", type=_positive, default=REPEAT, help=f"repetitions (default {REPEAT})")
    parser.add_argument("--quick", action="store_true", help="small and once: shows that all works, not how fast")
    parser.add_argument("--gc", action="store_true", help="show the share of Python's garbage collector")
    parser.add_argument("--json", action="store_true", help="print one line of JSON with every repetition")
    parser.add_argument("--profile", metavar="CASE", choices=names, help="profile one case instead")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(".run"),
        help="where durable stores are made; must be on a disk (default .run)",
    )
    return parser.parse_args(given)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _tasks(names: Sequence[str], arguments: argparse.Namespace) -> list[Task]:
    tasks = []
    for name, case in CASES.items():
        for store in STORES:
            if name in names or f"{name}/{store}" in names:
                size = max(case.size // QUICK // case.step, 1) * case.step if arguments.quick else case.size
                tasks.append(Task(name, store, size, 1 if arguments.quick else arguments.repeat, arguments.folder))
    return tasks


def _measure_all(tasks: list[Task], console: Console) -> list[Measurement]:
    done = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=sum(task.repeat for task in tasks))
        for task in tasks:
            progress.update(bar, description=task.name)
            done.append(measure(task, lambda: progress.advance(bar)))
    return done


def main(given: Sequence[str] | None = None) -> int:
    arguments = _arguments(given)
    # Piped into a file the table must not be cut to 80 columns.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    if arguments.profile is not None:
        found = trio.run(profile, _tasks([arguments.profile], arguments)[0])
        if arguments.json:
            print(report.profile_to_json(found))
        else:
            report.print_profile(found, console)
        return 0
    try:
        measurements = _measure_all(_tasks(arguments.only or list(CASES), arguments), Console(stderr=True))
    except MeasuringError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(report.to_json(measurements))
    else:
        report.print_table(measurements, console, gc=arguments.gc)
    return 0


if __name__ == "__main__":
    sys.exit(main())
