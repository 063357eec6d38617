"""The message log: one event per delivery, syscall, fault and end, as a line or as JSON.

A JSON line has, in this order:

    crank   the crank's number; 0 between cranks
    cause   the crank that queued what this one took up; 0: the host
    kind    deliver | syscall | log | error | fault | terminate | note
    vat     the vat's id, or null
    name    the vat's name, or null
    op      the delivery or syscall: message, notify, send, resolve…; null for other kinds
    kernel  its fields in krefs
    vatside the same fields in vrefs
    text    an explanation, or null

Bodies are shown as JSON (`ocap.legible`), the method beside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ocap.kernel.effects import Event
from ocap.legible import safe_text, shown
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import Settlement

Operation = deliveries.Delivery | syscalls.Syscall

_OPS = {
    deliveries.StartVat: "start",
    deliveries.Message: "message",
    deliveries.Notify: "notify",
    deliveries.DropExports: "drop_exports",
    deliveries.RetireExports: "retire_exports",
    deliveries.RetireImports: "retire_imports",
    deliveries.BringOutYourDead: "bring_out_your_dead",
    deliveries.ReportEdges: "report_edges",
    syscalls.Send: "send",
    syscalls.Subscribe: "subscribe",
    syscalls.Resolve: "resolve",
    syscalls.Forward: "forward",
    syscalls.Keep: "keep",
    syscalls.DropImports: "drop_imports",
    syscalls.RetireImports: "retire_imports",
    syscalls.RetireExports: "retire_exports",
    syscalls.AbandonExports: "abandon_exports",
    syscalls.Exit: "exit",
}


def to_json_line(event: Event, name_of: Callable[[str], str]) -> str:
    """One event as one line of JSON, without its newline."""
    operation = event.kernel or event.vat_side
    entry = {
        "crank": event.crank,
        "cause": event.cause,
        "kind": event.kind,
        "vat": event.vat,
        "name": None if event.vat is None else name_of(event.vat),
        "op": None if operation is None else _OPS[type(operation)],
        "kernel": None if event.kernel is None else _fields(event.kernel),
        "vatside": None if event.vat_side is None else _fields(event.vat_side),
        "text": event.text,
    }
    return json.dumps(entry)


def _fields(operation: Operation) -> dict[str, Any]:
    match operation:
        case deliveries.Message() | syscalls.Send():
            return {
                "target": operation.target,
                "method": operation.method,
                "args": shown(operation.args),
                "slots": list(operation.args.slots),
                "result": operation.result,
            }
        case deliveries.Notify() | syscalls.Resolve():
            return {"settlements": [_settlement(it) for it in operation.settlements]}
        case deliveries.StartVat():
            return {"incarnation": operation.incarnation, "parameters": shown(operation.parameters)}
        case syscalls.Subscribe():
            return {"promise": operation.promise}
        case syscalls.Forward():
            return {"promise": operation.promise, "to": operation.to}
        case syscalls.Keep():
            return {"promise": operation.promise, "decision": operation.decision}
        case syscalls.Exit():
            return {"is_failure": operation.is_failure, "data": shown(operation.data)}
    return {"refs": list(getattr(operation, "vrefs", ()))}


def _settlement(settlement: Settlement) -> dict[str, Any]:
    return {
        "promise": settlement.promise,
        "rejected": settlement.rejected,
        "data": shown(settlement.data),
        "slots": list(settlement.data.slots),
    }


def to_line(event: Event, name_of: Callable[[str], str]) -> str:
    """One event as one line for people.

    `12<7 v2:moola  deliver  message ko5=o+0 .make_purse(100) -> kp9=p-3`: crank 12, caused by
    crank 7; each name as the kernel's, then the vat's.
    """
    vat = "kernel" if event.vat is None else f"{event.vat}:{name_of(event.vat)}"
    head = f"{event.crank}<{event.cause} {safe_text(vat)}  {event.kind}"
    if event.kernel is not None and event.vat_side is not None:
        return f"{head}  {_OPS[type(event.kernel)]} {_both(event.kernel, event.vat_side)}".rstrip()
    return f"{head}  {safe_text(event.text or '')}".rstrip()


def _both(kernel: Operation, vat: Operation) -> str:
    match kernel, vat:
        case (
            (deliveries.Message() | syscalls.Send()) as ours,
            (deliveries.Message() | syscalls.Send()) as theirs,
        ):
            result = f" -> {_pair(ours.result, theirs.result)}" if ours.result and theirs.result else ""
            return f"{_pair(ours.target, theirs.target)} .{safe_text(ours.method)}{_call(shown(ours.args))}{result}"
        case (
            (deliveries.Notify() | syscalls.Resolve()) as ours,
            (deliveries.Notify() | syscalls.Resolve()) as theirs,
        ):
            pairs = zip(ours.settlements, theirs.settlements, strict=True)
            return ", ".join(_settled(mine, its) for mine, its in pairs)
        case deliveries.StartVat(), _:
            return f"incarnation {kernel.incarnation} {_text(shown(kernel.parameters))}"
        case syscalls.Subscribe() as ours, syscalls.Subscribe() as theirs:
            return _pair(ours.promise, theirs.promise)
        case syscalls.Forward() as ours, syscalls.Forward() as theirs:
            return f"{_pair(ours.promise, theirs.promise)} to {_pair(ours.to, theirs.to)}"
        case syscalls.Keep() as ours, syscalls.Keep() as theirs:
            return f"{'decision of' if ours.decision else 'subscription to'} {_pair(ours.promise, theirs.promise)}"
        case syscalls.Exit(), _:
            return f"{'failure' if kernel.is_failure else 'value'} {_text(shown(kernel.data))}"
    refs = zip(getattr(kernel, "vrefs", ()), getattr(vat, "vrefs", ()), strict=True)
    return " ".join(_pair(mine, its) for mine, its in refs)


def _pair(kref: str, vref: str) -> str:
    return f"{kref}={vref}"


def _settled(ours: Settlement, theirs: Settlement) -> str:
    verb = "rejected" if ours.rejected else "fulfilled"
    return f"{_pair(ours.promise, theirs.promise)} {verb} {_text(shown(ours.data))}"


def _call(body: Any) -> str:
    match body:
        case [list(args), dict(kwargs)]:
            parts = [_text(arg) for arg in args] + [f"{safe_text(key)}={_text(value)}" for key, value in kwargs.items()]
            return f"({', '.join(parts)})"
    return f"({_text(body)})"


def _text(value: Any, limit: int = 200) -> str:
    text = safe_text(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= limit else f"{text[:limit]}… {len(text)} characters"
