"""Events and entries as tests need them."""

from __future__ import annotations

from typing import Any

from ocap.kernel.effects import Event
from ocap.log import Entry
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData, Settlement
from ocap.protocol.marshal import encode
from ocap.protocol.refs import KERNEL, VatId

V1 = VatId("v1")


def _both(operation: Any, kref: str, vref: str, kind: str, vat: VatId = V1, text: str | None = None) -> Event:
    return Event(7, 3, kind, vat, operation(kref), operation(vref), text, time=1.0, took=0.25)


def every_event() -> list[Event]:
    """One of each kind, and of each operation."""
    from_kernel = [
        (lambda ref: deliveries.Message(ref, "greet", _call(), None), "ko1", "o+0"),
        (lambda ref: deliveries.Notify((_settled(ref),)), "kp1", "p-1"),
        (lambda ref: deliveries.DropExports((ref,)), "ko1", "o+1"),
        (lambda ref: deliveries.RetireExports((ref,)), "ko1", "o+1"),
        (lambda ref: deliveries.RetireImports((ref,)), "ko1", "o-1"),
        (lambda ref: deliveries.BringOutYourDead((ref,)), "ko1", "o-1"),
        (lambda _: deliveries.ReportEdges(), "", ""),
        (lambda _: deliveries.Ping(), "", ""),
        (lambda _: deliveries.StartVat(0, _data()), "", ""),
    ]
    from_vat = [
        (lambda ref: syscalls.Send(ref, "greet", _call(), "kp9" if ref[0] == "k" else "p+9"), "ko1", "o-1"),
        (syscalls.Subscribe, "kp1", "p-1"),
        (lambda ref: syscalls.Resolve((_settled(ref),)), "kp1", "p-1"),
        (lambda ref: syscalls.Forward(ref, "kp2" if ref[0] == "k" else "p-2"), "kp1", "p-1"),
        (lambda ref: syscalls.Keep(ref, decision=True), "kp1", "p-1"),
        (lambda ref: syscalls.DropImports((ref,)), "ko1", "o-1"),
        (lambda ref: syscalls.RetireImports((ref,)), "ko1", "o-1"),
        (lambda ref: syscalls.RetireExports((ref,)), "ko1", "o+d1/1"),
        (lambda ref: syscalls.AbandonExports((ref,)), "ko1", "o+1"),
        (lambda _: syscalls.Exit(is_failure=True, data=_data()), "", ""),
    ]
    return [
        *(_both(*it, "deliver") for it in from_kernel),
        *(_both(*it, "syscall") for it in from_vat),
        _both(lambda _: deliveries.Message("ko1", "get", _call(), "kp1"), "", "", "deliver", KERNEL),
        Event(7, 3, "log", V1, text="says"),
        Event(7, 3, "error", V1, text="e1\nTraceback"),
        _both(lambda ref: deliveries.Message(ref, "greet", _call()), "ko1", "o+0", "fault", text="too much"),
        Event(7, 3, "suspend", V1, text="it faulted"),
        Event(7, 3, "resume", V1, text="it was suspended: it faulted"),
        Event(7, 3, "terminate", V1, text="it exited"),
        Event(0, 0, "note", None, text="undone"),
    ]


def _call() -> CapData:
    return CapData(encode([["Ann"], {"loud": True}])[0])


def _data() -> CapData:
    return CapData(encode({"name": "Ann"})[0])


def _settled(ref: str) -> Settlement:
    return Settlement(ref, False, _data())


def entry(crank: int = 1, cause: int = 0, kind: str = "log", vat: str | None = "v1", **more: Any) -> Entry:
    """An entry; what is not given is null."""
    fields: dict[str, Any] = {"name": vat and f"name of {vat}", "text": "t" if "op" not in more else None} | more
    names = ("name", "op", "kernel", "vatside", "text", "time", "took")
    return Entry(crank, cause, kind, vat, *(fields.get(name) for name in names))


def message(crank: int, cause: int, vat: str, method: str, result: str | None, kind: str = "deliver") -> Entry:
    """A message, delivered or sent."""
    fields: dict[str, Any] = {"target": "ko1", "method": method, "args": [[], {}], "slots": [], "result": result}
    op = "message" if kind == "deliver" else "send"
    return entry(crank, cause, kind, vat, op=op, kernel=fields, vatside=fields)


def settled(crank: int, cause: int, vat: str, promise: str, data: Any = None, kind: str = "deliver") -> Entry:
    """A promise that settles: a notify, or a resolve."""
    fields: dict[str, Any] = {"settlements": [{"promise": promise, "rejected": False, "data": data, "slots": []}]}
    return entry(
        crank, cause, kind, vat, op="notify" if kind == "deliver" else "resolve", kernel=fields, vatside=fields
    )
