"""Progress of long work: a line on standard error that is gone when the work is done, at a terminal only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from ocap.legible import safe_text

Told = Callable[[int, int | None, str], None]
"""Is told how much is done, of how much if that is known, and what is being done now."""


class _Text(TextColumn):
    """Words of ours, names of a vat's: no markup in either."""

    def render(self, task: Task) -> Text:
        return Text(safe_text(task.description))


@contextmanager
def progress(what: str) -> Iterator[Told]:
    """Show how `what` goes on while inside."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), _Text(""), BarColumn(bar_width=30), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=None)

        def told(done: int, total: int | None, now: str) -> None:
            bars.update(task, completed=done, total=total, description=f"{what}: {now}")

        yield told
