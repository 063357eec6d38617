"""CapData: a CBOR body with the references it mentions beside it, never inside.

The kernel translates and counts the slots and passes the body on unread. The one thing it may
ask of a body is `is_single_reference`, a comparison of its first bytes, since a message to a
promise follows the promise to the object it settled to.
"""

from __future__ import annotations

from attrs import frozen

TAG_OBJECT = 0xCA00
"""CBOR tag of a reference to an object; its content is a slot index, or [index, interface]."""

TAG_PROMISE = 0xCA01
"""CBOR tag of a reference to a promise; its content is a slot index."""

_OBJECT_HEAD = bytes([0xD9, TAG_OBJECT >> 8, TAG_OBJECT & 0xFF])


@frozen
class CapData:
    """One passable value in transit.

    Attributes:
        body: CBOR in the profile of `marshal`; references are tags holding a slot index.
        slots: krefs or vrefs (which, depends on the side of the wall), by index, without repeats.
    """

    body: bytes
    slots: tuple[str, ...] = ()

    def is_single_reference(self) -> bool:
        """Whether the value is one object reference and nothing else."""
        return len(self.slots) == 1 and self.body.startswith(_OBJECT_HEAD)


@frozen
class Settlement:
    """What became of one promise: data, or (`rejected`) the error it failed with."""

    promise: str
    rejected: bool
    data: CapData
