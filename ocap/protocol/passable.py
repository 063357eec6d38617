"""Which classes of frozen data may pass: the registry behind `@passable`.

A class travels by name, so both vats must have it: from a module both import, or from the same
vat source. A vat's own module is loaded afresh for each vat, hence its classes are registered
for that vat alone, under a name that leaves the vat out.
"""

from __future__ import annotations

from typing import Any, TypeVar

import attrs

_T = TypeVar("_T")


class Registry:
    """Names to classes and back. A vat's registry falls back on the shared one."""

    def __init__(self, shared: Registry | None = None) -> None:
        self._by_name: dict[str, type[Any]] = {}
        self._by_qualname: dict[str, type[Any]] = {}
        self._shared = shared

    def register(self, name: str, cls: type[Any]) -> None:
        """Raises `TypeError`, the registrant's fault, when another class has the name."""
        other = self._by_name.setdefault(name, cls)
        if other is not cls:
            raise TypeError(f"two passable classes are called {name}: {other!r} and {cls!r}; rename one")
        self._by_qualname[cls.__qualname__] = cls

    def find(self, name: str) -> type[Any] | None:
        found = self._by_name.get(name)
        if found is None and self._shared is not None:
            return self._shared.find(name)
        return found

    def find_stored(self, name: str) -> type[Any] | None:
        """The class of what this vat has stored: one of its own, if its module had another name then."""
        found, qualname = self.find(name), name
        while found is None and "." in qualname:
            qualname = qualname.partition(".")[2]
            found = self._by_qualname.get(qualname)
        return found


SHARED = Registry()
PASSABLE_NAME = "__passable_name__"
"""The attribute of a class under whose name its instances travel."""

_current: list[Registry] = [SHARED]


class loading_into:  # noqa: N801 - reads as a statement: `with loading_into(registry):`
    """While a vat's module is being loaded, `@passable` registers for that vat."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __enter__(self) -> None:
        _current.append(self._registry)

    def __exit__(self, *_: object) -> None:
        _current.pop()


def vat_module_name(name: str, vat: str) -> str:
    """The name in `sys.modules` of a vat's own instance of module `name`."""
    return f"{name}@{vat}"


def passable(cls: type[_T]) -> type[_T]:
    """Let instances of a frozen attrs class pass between vats, field by field, and exceptions with their args.

    An exception that is not registered arrives as `RemoteError`. A registered one is made anew from
    its args, which its constructor must take; where that fails it is a `RemoteError` too.

    Raises:
        TypeError: the class is neither an exception nor a frozen attrs class (its author's fault): what
            passes is copied, and a copy that could change would look like a shared object.
    """
    if not issubclass(cls, Exception):
        _check_is_frozen(cls)
    module, _, vat = cls.__module__.partition("@")
    name = f"{module}.{cls.__qualname__}"
    (_current[-1] if vat else SHARED).register(name, cls)
    setattr(cls, PASSABLE_NAME, name)
    return cls


def _check_is_frozen(cls: type[Any]) -> None:
    if not attrs.has(cls) or not attrs.inspect(cls).is_frozen:
        raise TypeError(
            f"@passable takes an exception or a frozen attrs class; put @attrs.frozen below it on {cls.__name__}"
        )
    if any(not field.init for field in attrs.fields(cls)):
        raise TypeError(f"@passable: every field of {cls.__name__} must be an argument of its constructor")


def stored_name(cls: type[Any]) -> str | None:
    """The name under which instances are keys of stores.

    A vat's own classes leave the module out, as its kinds do: an upgrade may rename the file.
    """
    return f".{cls.__qualname__}" if "@" in cls.__module__ and PASSABLE_NAME in vars(cls) else passable_name(cls)


def passable_name(cls: type[Any]) -> str | None:
    """The name under which instances travel; None when the class is not registered itself."""
    name: str | None = vars(cls).get(PASSABLE_NAME)
    return name
