"""How a vat is to be treated: chosen when it is created, kept with it."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from ocap.protocol.refs import Kref

FaultPolicy = Literal["suspend", "terminate", "panic"]

FAULT_LIMIT = 3
"""Faults after which a vat's policy applies, if it has not been reaped in between: as Erlang's
supervisors, give up rather than loop."""


@frozen
class VatOptions:
    """How a vat is to be treated.

    Attributes:
        critical: its death, unless the host program asked for it, stops the kernel.
        on_fault: what becomes of it after `fault_limit` faults: it is suspended with its messages held,
            terminated, or the kernel stops. One that does not start again is suspended rather than terminated.
        imports: the modules its code may import beside the pure ones, `*` for any; None: no others.
        reap_after: deliveries after which it is asked to bring out its dead; 0: never; None: as the kernel says.
        endowments: services that it is given when it starts, by name; counted references.
    """

    critical: bool = False
    on_fault: FaultPolicy = "suspend"
    fault_limit: int = FAULT_LIMIT
    imports: tuple[str, ...] | None = None
    reap_after: int | None = None
    endowments: tuple[tuple[str, Kref], ...] = ()


DEFAULT_OPTIONS = VatOptions()
