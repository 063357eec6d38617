"""What can be done from the pages: each a name, the fields that a form sends, and a command to the kernel.

What an action does is said on its page before it is done; the words are in the templates.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from ocap.daemon.client import Client
from ocap.legible import as_text
from ocap.panel.reading import Reader
from ocap.protocol.errors import OcapError
from ocap.verify import verify

MAX_FINDINGS = 100
"""Broken invariants that the page shows."""

Call = Callable[..., Awaitable[Any]]
Fields = Mapping[str, str]
Said = dict[str, Any]
"""`{"message": TEXT}`, with `"detail": [LINES]`, or `{"to": PAGE}` for where it is to be seen."""


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
        return {"message": "Launched.", "detail": detail, "to": f"/subclusters/{launched[-1]['id']}"}

    async def _preview(self, client: Client, fields: Fields) -> Said:
        found = await self._updated(client, fields, dry=True)
        return {"message": "This is what the update would do.", "detail": _changes(found, "will be ")}

    async def _update(self, client: Client, fields: Fields) -> Said:
        return {"message": "Updated.", "detail": _changes(await self._updated(client, fields, dry=False), "")}

    async def _updated(self, client: Client, fields: Fields, *, dry: bool) -> Any:
        arguments = {"subcluster": _text(fields, "subcluster"), "text": _text(fields, "text")}
        return await client.call("update", **arguments, folder=self._folder, dry=dry)

    async def _reload(self, client: Client, fields: Fields) -> Said:
        found = await client.call("reload", subcluster=_text(fields, "what"))
        return {"message": "Reloaded.", "to": f"/subclusters/{found['id']}"}

    async def _restart(self, client: Client, fields: Fields) -> Said:
        await client.call("restart", what=_text(fields, "what"))
        return {"message": "Restarted: the next incarnation is built when it is next needed."}

    async def _terminate(self, client: Client, fields: Fields) -> Said:
        found = await client.call("terminate", what=_text(fields, "what"))
        return {"message": "Terminated.", "to": "/subclusters" if found["id"].startswith("s") else "/vats"}

    async def _suspend(self, client: Client, fields: Fields) -> Said:
        await client.call("suspend", what=_text(fields, "what"))
        return {"message": "Suspended: messages are held back, in order."}

    async def _resume(self, client: Client, fields: Fields) -> Said:
        await client.call("resume", what=_text(fields, "what"))
        return {"message": "Resumed: what was held back is delivered."}

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
        return {"message": f"Upgraded: incarnation {found['incarnation']} runs.", "to": f"/vats/{found['id']}"}

    async def _send(self, client: Client, fields: Fields) -> Said:
        args = _json(fields.get("args", "").strip() or "[]", "arguments", list)
        method = _text(fields, "method").strip()
        found = await client.call("send", target=_text(fields, "target").strip(), method=method, args=args)
        return {"message": "It answered:", "detail": [as_text(found["answer"])], "answer": found["answer"]}

    async def _revoke(self, client: Client, fields: Fields) -> Said:
        await client.call("revoke", target=_text(fields, "what"))
        return {"message": "Revoked: no message to it is let through any more."}

    async def _retry(self, client: Client, fields: Fields) -> Said:
        found = await client.call("retry", number=_number(fields))
        return {"message": "It was delivered, and answered:", "detail": [as_text(found["answer"])]}

    async def _drop(self, client: Client, fields: Fields) -> Said:
        await client.call("drop", number=_number(fields))
        return {"message": "Dropped."}

    async def _collect(self, client: Client, fields: Fields) -> Said:
        found = await client.call("collect", cycles=fields.get("cycles") == "yes")
        return {"message": "Collected.", "detail": [f"{count} rows of {what}" for what, count in found.items()]}

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
    "send": Actions._send,
    "revoke": Actions._revoke,
    "retry": Actions._retry,
    "drop": Actions._drop,
    "collect": Actions._collect,
    "verify": Actions._verify,
}


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
    lines += [f"{name}: {will}ended, with all it has stored" for name in found["removed"]]
    lines += [f"{part}: counts at the next reload" for part in found["at_reload"]]
    return lines or ["Nothing but options changes."]
