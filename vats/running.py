"""Which vat is running: set only while its code is being driven, by the one thread that drives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vats.liveslots import Liveslots

vat: Liveslots | None = None


def current(what: str) -> Liveslots:
    """The running vat.

    Raises:
        RuntimeError: no vat is running: `what` was used outside a behaviour; the caller's fault.
    """
    if vat is None:
        raise RuntimeError(f"{what} works only inside a vat, in a behaviour or build_root_object")
    return vat
