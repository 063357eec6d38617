"""Names of things: krefs (`ko7`, `kp3`), vrefs (`o+5`, `o-2`, `p+1`, `o+d3/7`), vats, subclusters.

A kref is the kernel's name for an object or promise; a vref is one vat's name for it. The sign
of a vref says who allocated it: `+` the vat, `-` the kernel. No other module slices a reference:
what a reference means is asked here.

Grammar of vrefs (after SwingSet's liveslots)::

    vref     = ("o" | "p") sign number [instance]
    sign     = "+" | "-"
    instance = after "o+" only: ("d" | "v") kind "/" number [":" facet], in place of the number
    kind     = facet = number
    number   = "0" | nonzero-digit digit*          (ASCII digits, at most 18)

`d` is a durable object, `v` a virtual one, which lives off the heap and ends with its incarnation.
The facets of one object share its name, the *base*, and its state.
"""

from __future__ import annotations

import re
from typing import NewType

Kref = NewType("Kref", str)
Vref = NewType("Vref", str)
VatId = NewType("VatId", str)
SubclusterId = NewType("SubclusterId", str)

ROOT = Vref("o+0")
"""Every vat's root object, in every incarnation."""

HOST = VatId("host")
"""The host program is an endpoint like a vat: it has a clist, imports and exports."""

KERNEL = VatId("kernel")
"""So is the kernel itself, which exports the vat-admin objects."""

_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_VREF = re.compile(rf"(?:[op][+-]{_NUMBER}|o\+[dv]{_NUMBER}/{_NUMBER}(?::{_NUMBER})?)", re.ASCII)
_KREF = re.compile(rf"k[op]{_NUMBER}", re.ASCII)


def object_kref(number: int) -> Kref:
    return Kref(f"ko{number}")


def promise_kref(number: int) -> Kref:
    return Kref(f"kp{number}")


def vat_id(number: int) -> VatId:
    return VatId(f"v{number}")


def subcluster_id(number: int) -> SubclusterId:
    return SubclusterId(f"s{number}")


def object_export(number: int) -> Vref:
    return Vref(f"o+{number}")


def promise_export(number: int) -> Vref:
    return Vref(f"p+{number}")


def durable_export(kind: int, instance: int) -> Vref:
    return Vref(f"o+d{kind}/{instance}")


def virtual_export(kind: int, instance: int) -> Vref:
    return Vref(f"o+v{kind}/{instance}")


def facet_export(base: str, facet: int) -> Vref:
    return Vref(f"{base}:{facet}")


def imported(kref: Kref, number: int) -> Vref:
    """The vref the kernel allocates when it introduces `kref` to a vat."""
    return Vref(f"{kref[1]}-{number}")


def is_promise_kref(kref: str) -> bool:
    return kref[1] == "p"


def is_promise_vref(vref: str) -> bool:
    return vref[0] == "p"


def is_vat_allocated(vref: str) -> bool:
    return vref[1] == "+"


def is_durable(vref: str) -> bool:
    """Whether an export outlives the incarnation that made it: durable objects and the root."""
    return vref[2] == "d" or vref == ROOT


def is_virtual(vref: str) -> bool:
    return vref[2] == "v"


def is_off_heap(vref: str) -> bool:
    """Whether an export has its state in the vatstore: durable and virtual objects and stores."""
    return vref[2] in "dv"


def durable_parts(vref: str) -> tuple[int, int]:
    """Kind and instance number of `o+dKIND/INSTANCE`, of `o+vKIND/INSTANCE`, and of a facet of either."""
    kind, _, instance = vref[3:].partition("/")
    return int(kind), int(instance.partition(":")[0])


def base_of(vref: str) -> str:
    """The object that a facet is one of; any other vref is its own base."""
    return vref.partition(":")[0]


def facet_of(vref: str) -> int | None:
    """The index of a facet; None for what is none."""
    facet = vref.partition(":")[2]
    return int(facet) if facet else None


def is_well_formed_vref(text: object) -> bool:
    """Whether `text` is a vref at all; a vat may name anything, so the translator asks first."""
    return type(text) is str and _VREF.fullmatch(text) is not None


def is_well_formed_kref(text: object) -> bool:
    return type(text) is str and _KREF.fullmatch(text) is not None


def number_of(ref: str) -> int:
    """The trailing number of a kref, vat id or subcluster id: `ko20` is 20, `v3` is 3."""
    return int(ref.lstrip("kopvs"))


def sort_key(ref: str) -> tuple[str, int]:
    """Orders references by kind, then by number: `ko2` before `ko10` (unlike text order), the host first."""
    kind = ref.rstrip("0123456789")
    return kind, int(ref[len(kind) :] or 0)
