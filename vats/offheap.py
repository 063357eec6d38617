"""What off-heap objects have in common, exos and kits, virtual and durable: fields that are rows of the vatstore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from vats import running
from vats.fields import Field, fields_of
from vats.kinds import declare

if TYPE_CHECKING:
    from typing import Self

    from vats.liveslots import Liveslots
    from vats.states import States

_set_attribute = object.__setattr__  # past the check that only fields are assigned
_OWN = ("_ocap_vat", "_ocap_vref")


class OffHeap:
    """Base of objects whose annotated fields are their state."""

    __slots__ = ()
    _ocap_machinery: ClassVar[bool] = True
    _ocap_off_heap: ClassVar[bool] = True
    _ocap_durable: ClassVar[bool]
    _ocap_fields: ClassVar[dict[str, Field]] = {}
    _ocap_facet_names: ClassVar[tuple[str, ...]] = ()
    schema_version: ClassVar[int] = 0
    if TYPE_CHECKING:
        _ocap_vat: Liveslots | None
        _ocap_vref: str | None
        _ocap_state: dict[str, Any] | None
        _ocap_row: bytes | None
        _ocap_is_dirty: bool

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_ocap_machinery" in vars(cls):
            return
        cls._ocap_fields = fields_of(cls, cls._ocap_fields)
        for name, field in cls._ocap_fields.items():
            setattr(cls, name, field)
        declare(cls)

    def __new__(cls, *_: Any, **__: Any) -> Self:
        vat = running.current(f"{cls.__name__}()")
        self = super().__new__(cls)
        _set_attribute(self, "_ocap_vat", vat)
        _set_attribute(self, "_ocap_vref", None)
        _set_attribute(self, "_ocap_state", {})
        _set_attribute(self, "_ocap_row", None)
        _set_attribute(self, "_ocap_is_dirty", False)
        return self

    @classmethod
    def _ocap_at(cls, vat: Liveslots, vref: str) -> Self:
        """A representative of a stored object, which reads nothing before it must."""
        self = cls.__new__(cls)
        _set_attribute(self, "_ocap_vat", vat)
        _set_attribute(self, "_ocap_vref", vref)
        _set_attribute(self, "_ocap_state", None)
        return self

    def __init__(self, **fields: Any) -> None:
        cls = type(self)
        unknown = [name for name in fields if name not in cls._ocap_fields]
        if unknown:
            known = ", ".join(cls._ocap_fields) or "none"
            raise TypeError(f"{cls.__name__}() has no field {', '.join(unknown)}; its fields: {known}")
        missing = [name for name, f in cls._ocap_fields.items() if not f.has_default and name not in fields]
        if missing:
            raise TypeError(f"{cls.__name__}() needs a value for {', '.join(missing)}")
        for name, field in cls._ocap_fields.items():
            setattr(self, name, fields[name] if name in fields else field.make_default())
        if cls._ocap_durable:
            self._ocap_states().unnamed.add(self)

    def __setattr__(self, name: str, value: Any) -> None:
        field = type(self)._ocap_fields.get(name)
        if field is None:
            if name not in _OWN and name not in type(self)._ocap_facet_names:
                cls = type(self).__name__
                raise AttributeError(f"{cls} has no field {name}: annotate it in the class, and it is stored")
            _set_attribute(self, name, value)
            return
        state = self._ocap_state
        if state is None:
            state = self._ocap_load()
        state[name] = field.admit(self, value)
        if not self._ocap_is_dirty and self._ocap_vref is not None:
            self._ocap_states().watch(self)

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name}: a field cannot be deleted; assign None")

    def _ocap_states(self) -> States:
        vat = self._ocap_vat
        if vat is None or vat is not running.vat:
            raise RuntimeError(f"the state of a {type(self).__name__} can be used only while its vat runs")
        return vat.states

    def _ocap_load(self) -> dict[str, Any]:
        return self._ocap_states().load(self)
