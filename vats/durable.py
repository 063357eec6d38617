"""Exos off the heap: their fields are rows of the vatstore, read when touched and written when the crank ends."""

from __future__ import annotations

from typing import ClassVar, dataclass_transform

from vats.exo import Exo
from vats.fields import field
from vats.offheap import OffHeap


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
class DurableExo(OffHeap, Exo):
    """Base of objects that survive restart and upgrade. Annotated fields are the state.

    The constructor takes the fields by keyword. Fields hold any passable value but promises, heap
    exos and virtual ones; what is assigned is checked by the annotation and copied. A crank's changes
    are stored with the crank, or not at all. `field()` gives a field a factory or validators.

    After an upgrade an object is of the class of the same name. A new field has its default, a field
    that is gone is dropped, and what does not fit any more goes through the class's hook::

        schema_version: ClassVar[int] = 1

        @classmethod
        def migrate(cls, version: int, state: dict[str, Any]) -> dict[str, Any]:
            if version < 1:
                state["cents"] = 100 * state.pop("francs")
            return state

    It is called once for each object stored under a lower version, when it is first touched.

    Raises:
        TypeError: a field's value is missing or of a wrong type; the maker's fault.
        NotPassableError: a value cannot be stored, with the path to it; the assigner's fault.
        SchemaError: a stored value does not fit and `migrate` does not mend it; the class author's.
    """

    __slots__ = ("_ocap_is_dirty", "_ocap_row", "_ocap_state")
    _ocap_machinery: ClassVar[bool] = True
    _ocap_durable: ClassVar[bool] = True


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
class VirtualExo(OffHeap, Exo):
    """Base of objects that are too many for the heap, and gone when the incarnation ends.

    Like `DurableExo`, but fields may hold heap exos and virtual ones too, and there is no later
    version to migrate to.
    """

    __slots__ = ("_ocap_is_dirty", "_ocap_row", "_ocap_state")
    _ocap_machinery: ClassVar[bool] = True
    _ocap_durable: ClassVar[bool] = False
