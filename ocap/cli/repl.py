"""`ocap repl`: a prompt inside a running kernel, where `await` works. Needs the extra `ocap[repl]`.

Lines are read in a thread and run as a task of trio's, beside the kernel. trio's own prompt (`python -m trio`) is
no public module, and owns the loop; what is read on a terminal is prompt_toolkit's business.
"""

from __future__ import annotations

import ast
import codeop
import inspect
import json
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import trio

from ocap.cli.run import Run, dump_on_signal
from ocap.daemon.client import naming_the_daemon
from ocap.extras import extra
from ocap.host.kernel import Kernel
from ocap.kernel.effects import Event
from ocap.legible import as_text, safe_text, to_json
from ocap.log import from_event, to_line
from ocap.protocol.eventual import E
from ocap.services.cluster_file import ClusterFile, wake_system
from ocap.services.standard import LATER

_NAME = "<ocap>"
"""What tracebacks call the lines that were typed."""

_INSTEAD = (
    ". The prompt runs a kernel of its own; in the daemon's, `ocap send`, `ocap show` and `ocap panel` do as much"
)
"""What to do where a daemon has the database open."""

Read = Callable[[str], Awaitable[str]]


def prompt_in(db: Path | None, file: ClusterFile, *, as_json: bool) -> int:
    """Open a kernel, launch or resume the subclusters, and prompt until the input ends.

    Raises:
        ConfigError: the file does not say what a service needs that the database asks for.
        StoreError: the database cannot be used.
    """
    # Before anything is opened: its extra may not be installed.
    read, printed = _terminal() if sys.stdin.isatty() else (_read_line, _as_it_is)
    with naming_the_daemon(db, _INSTEAD):
        kernel = file.open_kernel(db, also=LATER)

    def log(event: Event) -> None:
        if event.kind == "log":
            print(to_line(from_event(event, kernel.vat_name)), file=sys.stderr)

    kernel.observe(log, messages=False)
    with printed():
        return trio.run(_prompt_in, kernel, file, read, as_json)


async def _prompt_in(kernel: Kernel, file: ClusterFile, read: Read, as_json: bool) -> int:
    async with kernel:
        names: dict[str, Any] = {"kernel": kernel, "E": E, "trio": trio, "roots": {}}
        console = _Console(names, as_json=as_json)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dump_on_signal, kernel)
            nursery.start_soon(console.watch_for_interrupt, nursery.cancel_scope)
            nursery.start_soon(wake_system, kernel)
            await _launch(kernel, file)
            names["roots"].update((it.name or it.id, it.root) for it in kernel.get_subclusters())
            if sys.stdin.isatty() and not as_json:
                known = ", ".join(map(safe_text, names["roots"])) or "none yet"
                print(f"kernel, E and roots are there, and await works. roots: {known}. Ctrl-D ends.")
            await console.run(read)
            nursery.cancel_scope.cancel()
    if console.was_interrupted:
        return 130
    return 1 if console.has_failed and not sys.stdin.isatty() else 0


async def _launch(kernel: Kernel, file: ClusterFile) -> None:
    """Launch or resume what the file describes; what cannot be launched is told, and the prompt comes all the same."""
    work = Run(kernel, file, lambda name, result: print(f"{safe_text(name)}: {as_text(result)}", file=sys.stderr))
    async with trio.open_nursery() as launching:

        async def give_up() -> None:
            await work.until_done()
            launching.cancel_scope.cancel()

        launching.start_soon(give_up)
        async with trio.open_nursery() as each:
            work.launch_all(each)
        launching.cancel_scope.cancel()


class _Console:
    """Reads, runs, prints."""

    def __init__(self, names: dict[str, Any], *, as_json: bool) -> None:
        self.was_interrupted = False
        self.has_failed = False
        self._names = names
        self._as_json = as_json
        self._compile = codeop.CommandCompiler()
        self._compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._scope: trio.CancelScope | None = None

    async def watch_for_interrupt(self, everything: trio.CancelScope) -> None:
        """Ctrl-C gives up what is awaited; where no line can be given up instead, and at SIGTERM, all ends."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for received in signals:
                if received == signal.SIGINT and self._scope is not None:
                    self._scope.cancel()
                elif received == signal.SIGTERM or not sys.stdin.isatty():
                    self.was_interrupted = True
                    everything.cancel()
                # Else it came a moment too late for what it was to end, or too early for the prompt.

    async def run(self, read: Read) -> None:
        """Until the input ends or asks to end."""
        source = ""
        while True:
            try:
                line = await read("... " if source else ">>> ")
            except EOFError:
                if source:
                    self._complain(["the input ends within a statement"])
                return
            except KeyboardInterrupt:  # the line is given up
                source = ""
                continue
            source = f"{source}\n{line}" if source else line
            try:
                code = self._compile(source, _NAME, "single")
            except (SyntaxError, ValueError, OverflowError) as error:
                source = ""
                self._complain(traceback.format_exception_only(error))
                continue
            if code is not None:
                source = ""
                if not await self._evaluate(code):
                    return

    async def _evaluate(self, code: CodeType) -> bool:
        """Run what was typed; False if that asks to end."""
        function = FunctionType(code, self._names)
        with self._shown(), trio.CancelScope() as self._scope:
            try:
                result = function()
                if inspect.iscoroutinefunction(function):
                    await result
            except SystemExit:
                return False
            except Exception as error:  # which is the answer, to who typed it
                where = error.__traceback__ and error.__traceback__.tb_next  # without ourselves
                self._complain(traceback.format_exception(error.with_traceback(where)))
        if self._scope.cancelled_caught:
            print("interrupted", file=sys.stderr)
        self._scope = None
        return True

    def _complain(self, lines: list[str]) -> None:
        self.has_failed = True
        for line in "".join(lines).splitlines():
            print(safe_text(line), file=sys.stderr)
        sys.stderr.flush()

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """Let what expressions give be printed as one line, or a few, that a terminal can be given."""

        def show(value: Any) -> None:
            if value is None:
                return
            self._names["_"] = value
            if self._as_json:
                print(json.dumps(to_json(value)))
            else:
                print("\n".join(map(safe_text, repr(value).splitlines())))
            sys.stdout.flush()

        before, sys.displayhook = sys.displayhook, show
        try:
            yield
        finally:
            sys.displayhook = before


# ---- reading --------------------------------------------------------------------------------------


async def _read_line(_: str) -> str:
    """From a file or a pipe: no prompt, no history."""
    line: str = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
    if not line:
        raise EOFError
    return line.rstrip("\n")


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


def _terminal() -> tuple[Read, Callable[[], Any]]:
    """From a terminal: with history and editing; what is printed meanwhile stands above the prompt."""
    with extra("repl"):
        from prompt_toolkit import PromptSession  # noqa: PLC0415 - takes 0.1 s, and a pipe needs none of it
        from prompt_toolkit.patch_stdout import patch_stdout  # noqa: PLC0415 - takes 0.1 s, and a pipe needs none of it

    session: PromptSession[str] = PromptSession()
    is_over = False
    is_ended = threading.Event()

    def end() -> None:
        if is_over:
            session.app.exit(exception=EOFError)

    def ask(prompt: str) -> str:
        try:
            return session.prompt(prompt, pre_run=end)
        finally:
            is_ended.set()

    async def read(prompt: str) -> str:
        nonlocal is_over
        is_ended.clear()
        try:
            line: str = await trio.to_thread.run_sync(ask, prompt, abandon_on_cancel=True)
        except trio.Cancelled:
            is_over = True
            if session.app.loop is not None:
                session.app.loop.call_soon_threadsafe(end)
            with trio.CancelScope(shield=True):  # until the terminal is as it was
                await trio.to_thread.run_sync(is_ended.wait)
            raise
        return line

    return read, patch_stdout
