"""What can be done from the pages: each a name, the fields that a form sends, and a command to the kernel.

What an action does is said on its page before it is done; the words are in the templates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from ocap.daemon.client import Client
from ocap.daemon.protocol import RequestFailedError
from ocap.legible import as_text
from ocap.panel.checking import misfits
from ocap.panel.reading import POLICIES, Reader, Row
from ocap.protocol.errors import OcapError
from ocap.verify import verify

LOOK = 1.0
"""Seconds between two looks whether a message that has no answer is held back."""

MAX_FINDINGS = 100
"""Broken invariants that the page shows."""

WITHOUT_KERNEL = frozenset({"verify"})
"""What is done although the kernel does not answer."""

Call = Callable[..., Awaitable[Any]]
Fields = Mapping[str, str]
Said = dict[str, Any]
"""`{"message": TEXT}`, with `"detail": [LINES]`, `"kind"` if it is neither done nor refused, and `"to": PAGE` for where
what was done is to be seen: the message is shown there."""


class FormError(OcapError, ValueError):
    """A field of a form is not what it has to be. Whoever filled it in is at fault."""


class Actions:
    """The actions over one kernel.

    Args:
        connect: opens a connection to the daemon.
        folder: what relative sources are relative to.
    """

    def __init__(self, connect: Callable[[], Awaitable[Client]], reader: Reader, folder: str) -> None:
        self._connect = connect
        self._reader = reader
        self._folder = folder

    async def do(self, name: str, fields: Fields) -> Said:
        """Do it.

        Raises:
            FormError: there is no such action, or a field is wrong.
            OcapError: it could not be done.
        """
        act = _ACTIONS.get(name)
        if act is None:
            raise FormError("there is no such action")
        async with await self._connect() as client:
            return await act(self, client, fields)

    async def _check(self, client: Client, fields: Fields) -> Said:
        found = await client.call("check", text=_text(fields, "text"), folder=self._folder)
        parts = [f"{it['name']}: vats {', '.join(it['vats'])}; bootstraps {it['bootstrap']}" for it in found]
        return {"message": "This can be launched.", "detail": parts}

    async def _launch(self, client: Client, fields: Fields) -> Said:
        launched = await client.call("launch", text=_text(fields, "text"), folder=self._folder)
        detail = [f"{it['id']} {it['name']}: bootstrap returned {as_text(it['result'])}" for it in launched]
        return {"message": "Launched:", "detail": detail, "to": f"/subclusters/{launched[-1]['id']}"}

    async def _preview(self, client: Client, fields: Fields) -> Said:
        found = await self._updated(client, fields, dry=True)
        return {"message": "This is what the update would do.", "detail": _changes(found, "will be ")}

    async def _update(self, client: Client, fields: Fields) -> Said:
        found = await self._updated(client, fields, dry=False)
        id_ = _text(fields, "subcluster")
        said = {"message": f"Updated {self._reader.called(id_)}:", "detail": _changes(found, "")}
        if any(error is not None for part in ("added", "upgraded") for error in found[part].values()):
            return {**said, "kind": "error"}
        return {**said, "to": _home(id_)}

    async def _updated(self, client: Client, fields: Fields, *, dry: bool) -> Any:
        arguments = {"subcluster": _text(fields, "subcluster"), "text": _text(fields, "text")}
        return await client.call("update", **arguments, folder=self._folder, dry=dry)

    async def _reload(self, client: Client, fields: Fields) -> Said:
        old = self._reader.called(_text(fields, "what"))
        found = await client.call("reload", subcluster=_text(fields, "what"))
        return {"message": f"Reloaded {old}: it is {found['id']} now.", "to": _home(found["id"])}

    async def _restart(self, client: Client, fields: Fields) -> Said:
        return await self._changed(client, "restart", fields, "Restarted", "built anew when it is next needed")

    async def _suspend(self, client: Client, fields: Fields) -> Said:
        return await self._changed(client, "suspend", fields, "Suspended", "messages are held back, in order")

    async def _resume(self, client: Client, fields: Fields) -> Said:
        return await self._changed(client, "resume", fields, "Resumed", "what was held back is delivered")

    async def _changed(self, client: Client, command: str, fields: Fields, done: str, means: str) -> Said:
        what = _text(fields, "what")
        await client.call(command, what=what)
        return {"message": f"{done} {self._reader.called(what)}: {means}.", "to": _home(what)}

    async def _terminate(self, client: Client, fields: Fields) -> Said:
        what = _text(fields, "what")
        name = self._reader.called(what)
        await client.call("terminate", what=what)
        return {"message": f"Terminated {name}.", "to": "/subclusters" if what.startswith("s") else "/vats"}

    async def _ping(self, client: Client, fields: Fields) -> Said:
        began = trio.current_time()
        await client.call("ping", what=_text(fields, "what"))
        return {"message": f"It answered in {(trio.current_time() - began) * 1000:.0f} ms."}

    async def _upgrade(self, client: Client, fields: Fields) -> Said:
        source, parameters = fields.get("source", "").strip(), fields.get("parameters", "").strip()
        arguments: dict[str, Any] = {"vat": _text(fields, "what")}
        if source:
            arguments["source"] = source
        if parameters:
            arguments["parameters"] = _json(parameters, "parameters", dict)
        found = await client.call("upgrade", **arguments)
        message = f"Upgraded {found['id']} {found['name']}: incarnation {found['incarnation']} runs."
        return {"message": message, "to": _home(found["id"])}

    async def _check_upgrade(self, _client: Client, fields: Fields) -> Said:
        found = await misfits(self._reader.path, _text(fields, "what"), _text(fields, "source").strip())
        if not found:
            return {"message": "The code can take over what is stored."}
        return {"message": "The code cannot take over what is stored:", "detail": found, "kind": "error"}

    async def _send(self, client: Client, fields: Fields) -> Said:
        args = _json(fields.get("args", "").strip() or "[]", "arguments", list)
        target, method = _text(fields, "target").strip(), _text(fields, "method").strip()
        failure: OcapError | None = None
        found: Any = None
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                nonlocal failure, found
                try:
                    found = await client.call("send", target=target, method=method, args=args)
                except OcapError as error:
                    failure = error
                nursery.cancel_scope.cancel()

            nursery.start_soon(ask)
            while (vat := self._reader.suspended_receiver(target)) is None:  # noqa: ASYNC110 - nothing tells of it
                await trio.sleep(LOOK)
            await trio.sleep(LOOK)
            nursery.cancel_scope.cancel()
        if failure is not None:
            if isinstance(failure, RequestFailedError) and (match := _AVAILABLE.search(failure.message)):
                return {"error": failure.message, "methods": match[1].split(", ")}
            raise failure
        if found is None:
            assert vat is not None
            return _held_back(self._reader.suspended_receiver(target) or vat)
        return {"message": "It answered:", "detail": [as_text(found["answer"])], "answer": found["answer"]}

    async def _revoke(self, client: Client, fields: Fields) -> Said:
        what = _text(fields, "what")
        await client.call("revoke", target=what)
        return {"message": f"Revoked {what}: no message to it is let through any more.", "to": f"/objects/{what}"}

    async def _retry(self, client: Client, fields: Fields) -> Said:
        number = _number(fields)
        before = self._reader.latest_dead_letter(number)
        try:
            found = await client.call("retry", number=number)
        except RequestFailedError as error:
            if (again := self._reader.dead_letter_after(*before)) is None:
                raise
            raise FormError(_faulted_again(number, again)) from error
        return {"message": f"{number} was delivered, and answered:", "detail": [as_text(found["answer"])]}

    async def _drop(self, client: Client, fields: Fields) -> Said:
        number = _number(fields)
        await client.call("drop", number=number)
        return {"message": f"Dropped {number}."}

    async def _collect(self, client: Client, fields: Fields) -> Said:
        with self._reader.snapshot():
            before = {it["name"]: it["rows"] for it in self._reader.tables()}
        after = await client.call("collect", cycles=fields.get("cycles") == "yes")
        lines = [f"{what}: {before[what]:,} before, {count:,} after" for what, count in after.items()]
        return {"message": "Collected. Rows of the tables:", "detail": lines}

    async def _verify(self, _client: Client, _fields: Fields) -> Said:
        problems = await trio.to_thread.run_sync(verify, self._reader.path)
        if not problems:
            return {"message": "All invariants hold."}
        return {"message": f"{len(problems)} are broken:", "detail": [str(it) for it in problems[:MAX_FINDINGS]]}


Action = Callable[[Actions, Client, Fields], Awaitable[Said]]
_ACTIONS: dict[str, Action] = {
    "check": Actions._check,
    "launch": Actions._launch,
    "preview": Actions._preview,
    "update": Actions._update,
    "reload": Actions._reload,
    "restart": Actions._restart,
    "terminate": Actions._terminate,
    "suspend": Actions._suspend,
    "resume": Actions._resume,
    "ping": Actions._ping,
    "upgrade": Actions._upgrade,
    "check-upgrade": Actions._check_upgrade,
    "send": Actions._send,
    "revoke": Actions._revoke,
    "retry": Actions._retry,
    "drop": Actions._drop,
    "collect": Actions._collect,
    "verify": Actions._verify,
}


_AVAILABLE = re.compile(r"has no method .*; available: (\w+(?:, \w+)*)")
"""How an exo says which methods it has."""


def _home(id_: str) -> str:
    """The page of a subcluster or vat."""
    return f"/subclusters/{id_}" if id_.startswith("s") else f"/vats/{id_}"


def _held_back(vat: Row) -> Said:
    count = vat["queued"]
    wait = f"{count} message{'s wait' if count != 1 else ' waits'} for it" if count else "messages to it are held back"
    told = "The message is sent, and delivered when the vat is resumed; its answer is not waited for here."
    return {
        "message": f"{vat['id']} {vat['name']} is suspended: {wait}. {told}",
        "kind": "hint",
        "at": _home(vat["id"]),
    }


def _faulted_again(number: int, letter: Row) -> str:
    options, faults = letter["options"], f"{letter['faults']} fault{'s' if letter['faults'] != 1 else ''}"
    then = f"; at {options['fault_limit']} {POLICIES[options['on_fault']]}"
    state = then if letter["state"] == "live" else f", and is {letter['state']}"
    return (
        f"{number} faulted {letter['vat']} {letter['name']} again, and is dead letter {letter['number']} now. "
        f"The vat has {faults}{state}. {letter['reason']}"
    )


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise FormError(f"{name}: is missing")
    return value


def _number(fields: Fields) -> int:
    text = _text(fields, "number")
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise FormError("number: must be a number")
    return int(text)


def _json(text: str, name: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormError(f"{name}: not JSON: {error}") from None
    if type(value) is not kind:
        raise FormError(f"{name}: must be a JSON {'list' if kind is list else 'object'}")
    return value


def _changes(found: dict[str, Any], will: str) -> list[str]:
    lines = []
    for done in ("added", "upgraded"):
        lines += [
            f"{name}: {will}{done}" if error is None else f"{name}: could not be {done}: {error}"
            for name, error in found[done].items()
        ]
    lines += [f"{name}: {', '.join(options)} {will}changed" for name, options in found["adjusted"].items()]
    lines += [f"{name}: {will}ended, with all it has stored" for name in found["removed"]]
    lines += [f"{part}: counts at the next reload" for part in found["at_reload"]]
    return lines or ["Nothing changes."]
