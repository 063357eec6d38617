"""Sends: what `E(x).method(…)` comes to. Arguments are encoded at the call, so they cannot change on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ocap.protocol.capdata import CapData
from ocap.protocol.errors import NotPassableError
from ocap.protocol.syscalls import Send
from vats import running
from vats.promise import VatPromise
from vats.promises import Mail

if TYPE_CHECKING:
    from vats.liveslots import Liveslots


class Sends:
    """The messages that leave the behaviours of one vat, to wherever."""

    __slots__ = ("_vat",)

    def __init__(self, vat: Liveslots) -> None:
        self._vat = vat

    def to_presence(
        self, vref: str, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], wants_result: bool
    ) -> VatPromise | None:
        body, references = self._encode_arguments(args, kwargs)
        result = VatPromise(self._vat) if wants_result else None
        self.send(vref, method, body, references, result)
        return result

    def to_promise(
        self, promise: VatPromise, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], wants_result: bool
    ) -> VatPromise | None:
        body, references = self._encode_arguments(args, kwargs)
        self._vat.turns.count_send()
        result = VatPromise(self._vat) if wants_result else None
        self._vat.promises.route(promise, Mail(method, body, references, result))
        return result

    def to_local(
        self, target: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], wants_result: bool
    ) -> VatPromise | None:
        body, references = self._encode_arguments(args, kwargs)
        self._vat.turns.count_send()
        self._vat.spend(len(body))
        result = VatPromise(self._vat) if wants_result else None
        self._vat.calls.add(target, Mail(method, body, references, result))
        return result

    def _encode_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, list[Any]]:
        if running.vat is not self._vat:
            raise RuntimeError(
                "E works only inside the vat that holds the reference, in a behaviour or build_root_object"
            )
        try:
            return self._vat.encode([list(args), kwargs])
        except NotPassableError as error:
            path = (
                error.path.replace("[0]", "args", 1)
                if error.path.startswith("[0]")
                else error.path.replace("[1]", "kwargs", 1)
            )
            raise NotPassableError(path, error.reason) from None

    def send(self, target: str, method: str, body: bytes, references: list[Any], result: VatPromise | None) -> None:
        """Send through the kernel. Settled promises among the arguments are resolved right after."""
        vat = self._vat
        settled: list[VatPromise] = []
        slots = tuple([vat.slots.export(x, settled) for x in references]) if references else ()
        vpid = None if result is None else vat.promises.name_result(result)
        vat.syscall(Send(target, method, CapData(body, slots), vpid), len(body))
        if settled:
            vat.promises.resolve_settled(settled)
        if result is not None and result.parked is not None:
            vat.promises.flush(result)
