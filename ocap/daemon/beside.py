"""What may run beside a kernel: metrics, the control panel, traces. The same for `ocap run` and the daemon.

What can be missing or taken is looked for before a kernel is opened: either all that was asked for is there, or
nothing was begun.
"""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from attrs import define, frozen

from ocap.daemon.protocol import Lines
from ocap.host.kernel import Kernel
from ocap.kernel.effects import Event
from ocap.legible import safe_text
from ocap.loopback import listen, port_of
from ocap.protocol.errors import OcapError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

logger = logging.getLogger("ocap.daemon")

MAX_LINK = 4_096
"""Bytes of a line that the panel's process says."""

PANEL_END = 3.0
"""Seconds that the panel's process may take to end, before it is killed."""

SENDING = 5.0
"""Seconds in the end for the traces that were not sent yet."""

_CHILD = (
    "import json, sys; o = json.loads(sys.stdin.readline()); sys.path[:] = o.pop('path'); "
    "from ocap.panel.serving import main; main(**o)"
)

Announce = Callable[[str], None]
"""Is told each link that lets a browser into the panel, once."""


class PanelError(OcapError, RuntimeError):
    """The process of the control panel did not start; its own line on standard error says why."""


@frozen
class Wanted:
    """What is to run beside a kernel.

    Attributes:
        metrics: the port, 0 for a free one; None for no metrics.
        panel: the same for the control panel.
        otel: whether traces go where the variables OTEL_* say.
    """

    metrics: int | None = None
    panel: int | None = None
    otel: bool = False


@define(eq=False)
class Beside:
    """What was asked for, and is to be had.

    Attributes:
        link: the newest link to the panel that nobody has used; None while there is no panel.
    """

    _metrics: socket.socket | None = None
    _panel: socket.socket | None = None
    _provider: TracerProvider | None = None
    link: str | None = None

    @property
    def addresses(self) -> dict[str, str | None]:
        """Of metrics and panel; None for what there is not, or not any more."""
        return {
            "metrics": None if self._metrics is None else f"http://127.0.0.1:{port_of(self._metrics)}/metrics",
            "panel": None if self._panel is None or self.link is None else f"http://127.0.0.1:{port_of(self._panel)}",
        }

    @property
    def has_panel(self) -> bool:
        return self._panel is not None

    @contextmanager
    def tracing(self, kernel: Kernel) -> Iterator[Callable[[Event], None] | None]:
        """What takes the message log for the traces, if there are any; in the end all is sent."""
        if self._provider is None:
            yield None
            return
        from ocap.otel import Tracing  # noqa: PLC0415 - an extra

        tracing = Tracing(kernel.vat_name, self._provider)
        try:
            yield tracing
        finally:
            tracing.flush()
            sending = threading.Thread(target=self._provider.shutdown, daemon=True)
            sending.start()
            sending.join(SENDING)
            if sending.is_alive():
                logger.warning("the last traces were not sent: there is no answer from where they go")

    async def start(self, nursery: trio.Nursery, kernel: Kernel, database: Path | None, announce: Announce) -> None:
        """Serve metrics and panel from now on. The panel needs the control socket of `database`.

        Raises:
            PanelError: its process did not start.
        """
        if self._metrics is not None:
            from ocap.metrics import serve  # noqa: PLC0415 - an extra

            await nursery.start(serve, kernel, self._metrics.dup())
        if self._panel is not None:
            assert database is not None
            await nursery.start(self._serve_panel, self._panel, database, announce)

    async def _serve_panel(
        self, listener: socket.socket, database: Path, announce: Announce, task_status: trio.TaskStatus[None]
    ) -> None:
        """The panel is a process of its own. It ends with us, also where we are killed: its input ends then."""
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            process_group=0,  # Ctrl-C is for us
        )
        assert process.stdin is not None
        assert process.stdout is not None
        options = {"path": sys.path, "database": str(database), "listener": listener.fileno()}
        lines = Lines(MAX_LINK)
        try:
            await process.stdin.send_all(json.dumps(options).encode() + b"\n")
            async for data in process.stdout:
                for line in lines.feed(bytes(data)):
                    is_first = self.link is None
                    try:
                        self.link = str(json.loads(line))
                    except ValueError:  # a library of its may print, too
                        logger.warning("the control panel says: %s", safe_text(line.decode(errors="replace")))
                        continue
                    announce(self.link)
                    if is_first:
                        task_status.started()
            code = await process.wait()
        finally:
            was_there, self.link = self.link is not None, None
            await _end(process)
        if not was_there:
            raise PanelError(f"the control panel did not start: its process ended with code {code}")
        logger.error("the control panel ended, with code %d; the kernel goes on", code)


async def _end(process: trio.Process) -> None:
    with trio.CancelScope(shield=True):
        if process.returncode is None:
            process.terminate()
            with trio.move_on_after(PANEL_END):
                await process.wait()
                return
            process.kill()
            await process.wait()


@contextmanager
def open_beside(wanted: Wanted) -> Iterator[Beside]:
    """Look for what is wanted, and take its ports.

    Raises:
        MissingExtraError: it is not installed.
        PortError: a port is in use.
        ConfigError: the variables OTEL_* name what there is not.
    """
    with ExitStack() as stack:
        beside = Beside()
        if wanted.metrics is not None:
            import ocap.metrics  # noqa: F401, PLC0415 - an extra

            beside._metrics = stack.enter_context(listen(wanted.metrics, "metrics"))
        if wanted.panel is not None:
            beside._panel = stack.enter_context(listen(wanted.panel, "control panel"))
        if wanted.otel:
            from ocap.otel import provider_from_environment  # noqa: PLC0415 - an extra

            beside._provider = provider_from_environment()
        yield beside
