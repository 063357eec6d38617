"""How commands ask a daemon: most ask one thing and show the answer, and say no more than what that is."""

from __future__ import annotations

import inspect
import json as json_text
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import trio
from cyclopts import Parameter

from ocap.daemon.client import Client, OnSilence, open_client
from ocap.daemon.protocol import RequestFailedError
from ocap.daemon.silence import silence
from ocap.legible import safe_text
from ocap.ring.watchdog import SlowStep

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., int])

Flag = Annotated[bool, Parameter(negative="")]
Json = Annotated[bool, Parameter(negative="", help="Print one line of JSON.")]
Database = Annotated[Path | None, Parameter(name="--db", help="The database of the daemon; needed if several run.")]
What = Annotated[str, Parameter(name="WHAT", help="Its id, such as s1 or v1, or its name.")]
Name = Annotated[str, Parameter(name="SUBCLUSTER", help="Its id or name.")]

IS_NOT = frozenset({"LaunchError", "UpgradeError", "SendFailedError", "VatSuspendedError", "DisconnectedError"})
"""Failures of what was asked about, and not of the command: exit code 1."""

commands: dict[str, Callable[..., int]] = {}
"""The commands that were entered, by name."""


class NegativeAnswerError(RequestFailedError):
    """What the command was asked about is not so: exit code 1, where another failure is 2."""


def command(function: Command) -> Command:
    """Enter a command under its function's name, less the underscore that keeps that apart from Python's own."""
    commands[function.__name__.removesuffix("_").replace("_", "-")] = function
    return function


_COMMON = (
    inspect.Parameter("db", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Database),
    inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json),
)


def asks(question: str, show_it: Callable[[Any], object]) -> Callable[[Callable[..., dict[str, Any]]], None]:
    """Enter a command that asks the daemon one question, whose arguments the function gives.

    It has `--db` and `--json` beside the function's own parameters, and the function's help.

    Args:
        question: the daemon's command.
        show_it: prints the answer for people.
    """

    def decorate(function: Callable[..., dict[str, Any]]) -> None:
        def run(*values: Any, db: Path | None = None, json: bool = False, **options: Any) -> int:
            return show(ask(db, question, **function(*values, **options)), show_it, as_json=json)

        signature = inspect.signature(function, eval_str=True)
        signature = signature.replace(parameters=[*signature.parameters.values(), *_COMMON], return_annotation=int)
        run.__signature__ = signature  # type: ignore[attr-defined]  # what inspect and hence cyclopts look at
        run.__annotations__ = {it.name: it.annotation for it in signature.parameters.values()}
        run.__name__, run.__doc__ = function.__name__, function.__doc__
        command(run)

    return decorate


def ask(db: Path | None, question: str, /, **arguments: Any) -> Any:
    """Run a command of the daemon's. Raises `NegativeAnswerError` where the answer is one."""

    async def call(client: Client) -> Any:
        return await client.call(question, **arguments)

    return talk(db, call)


def talk(db: Path | None, use: Callable[[Client], Awaitable[T]]) -> T:
    """The same for several questions, over one connection."""

    async def main() -> T:
        async with open_client(db) as client:
            client.on_silence = _saying(client)
            return await use(client)

    try:
        return trio.run(main)
    except RequestFailedError as error:
        if error.name in IS_NOT:
            raise NegativeAnswerError(error.name, error.message) from None
        raise


def _saying(client: Client) -> OnSilence:
    """Gives up what should be answered at once; of what is waited for, tells why it takes so long."""
    is_said = False

    def silent(question: str, seconds: float, step: SlowStep | None) -> None:
        nonlocal is_said
        client.give_up(question, seconds, step)
        if step is not None and not is_said:
            is_said = True
            say(silence(client.path, client.pid, seconds, step))

    return silent


def say(text: str) -> None:
    """Tell people, on standard error."""
    print(f"ocap: {safe_text(text)}", file=sys.stderr, flush=True)


def show(found: Any, show_it: Callable[[Any], object], *, as_json: bool) -> int:
    """Print an answer."""
    if as_json:
        print(json_text.dumps(found))
    else:
        show_it(found)
    return 0
