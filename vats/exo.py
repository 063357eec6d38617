"""Exos: the objects that other vats may hold and send messages to."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from ocap.protocol.marshal import Remotable
from vats import running

if TYPE_CHECKING:
    from typing import Self

    from vats.liveslots import Liveslots

_outside = count()


class Exo(Remotable):
    """Base of objects on the vat's heap that are passed by reference.

    Its public methods, usually `async def`, can be called from outside; nothing else can. It is
    gone when the incarnation ends. Identity is all that two exos are compared by.

    Arguments and what is returned are checked by their annotations, those of a class with
    `class Raw(Exo, guard=False)` are not, nor those of its subclasses.
    """

    __slots__ = ("__weakref__", "_ocap_serial", "_ocap_vat", "_ocap_vref")
    _ocap_machinery: ClassVar[bool] = True
    _ocap_off_heap: ClassVar[bool] = False
    _ocap_durable: ClassVar[bool] = False
    _ocap_guard: ClassVar[bool] = True
    _ocap_vat: Liveslots | None
    _ocap_vref: str | None
    _ocap_serial: int

    def __init_subclass__(cls, *, guard: bool | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if guard is not None:
            cls._ocap_guard = guard
        for name in ("__eq__", "__hash__", "__del__"):
            if name in vars(cls):
                raise TypeError(f"{cls.__name__} defines {name}: identity and lifetime of an exo belong to the vat")

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError(f"{cls.__name__}() takes no arguments: it defines no __init__")
        self = super().__new__(cls)
        vat = running.vat
        set_attribute = object.__setattr__
        set_attribute(self, "_ocap_vat", vat)
        set_attribute(self, "_ocap_vref", None)
        set_attribute(self, "_ocap_serial", next(_outside if vat is None else vat.serials))
        return self

    def _eventual_send(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], wants_result: bool) -> Any:
        return running.current("E(an exo)").sends.to_local(self, method, args, kwargs, wants_result)

    def __hash__(self) -> int:
        # By order of creation, not by address: sets of references iterate alike in every run.
        return self._ocap_serial

    def __eq__(self, other: object) -> bool:
        return self is other

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is passed by reference; it cannot be copied or pickled")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    if TYPE_CHECKING:

        def _ref_(self) -> Self: ...
