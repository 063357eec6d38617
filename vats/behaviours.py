"""Behaviours: the public methods of an exo class, each with the guards of its annotations."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any

from ocap.protocol.eventual import Ref
from vats.guards import Check, check_of, exact_of
from vats.hints import UNKNOWN, resolve


class Behaviour:
    """One method as a message reaches it.

    Attributes:
        function: the plain function on the class.
        is_guarded: whether any parameter has a check.
        returns: itself if what its coroutine returns is to be checked, else None.
        returns_now: the same for what a plain function returns.
    """

    __slots__ = (
        "_by_name", "_by_position", "_exact_return", "_name", "_other_names", "_other_positions", "_return", "function",
        "is_guarded", "returns", "returns_now",
    )  # fmt: skip

    def __init__(self, cls: type[Any], name: str, function: FunctionType) -> None:
        # A facet's method may be called on any object by code of the vat, so it checks what it is
        # called on; a message comes to an object, so it need not.
        self.function: FunctionType = getattr(function, "_ocap_unchecked", function)
        self._name = f"{cls.__qualname__.rpartition('<locals>.')[2]}.{name}"
        self._by_position: list[tuple[str, type[Any] | None, Check | None]] = []
        self._by_name: dict[str, Check | None] = {}
        self._other_positions: Check | None = None
        self._other_names: Check | None = None
        self._return: Check | None = None
        self._exact_return: type[Any] | None = None
        self.returns: Behaviour | None = None
        self.returns_now: Behaviour | None = None
        self.is_guarded = False
        if getattr(cls, "_ocap_guard", True):
            self._compile(cls)

    def _compile(self, cls: type[Any]) -> None:
        function = self.function
        # Parameters of the function itself, not of what it wraps: these are the ones called.
        signature = inspect.signature(function, follow_wrapped=False)
        checks: list[Check | None] = []
        for parameter in list(signature.parameters.values())[1:]:
            check = _check_of_annotation(parameter.annotation, function, cls)
            checks.append(check)
            match parameter.kind:
                case inspect.Parameter.VAR_POSITIONAL:
                    self._other_positions = check
                case inspect.Parameter.VAR_KEYWORD:
                    self._other_names = check
                case kind:
                    if kind is not inspect.Parameter.KEYWORD_ONLY:
                        self._by_position.append((parameter.name, exact_of(check), check))
                    if kind is not inspect.Parameter.POSITIONAL_ONLY:
                        self._by_name[parameter.name] = check
        self.is_guarded = any(checks)
        if not hasattr(function, "__wrapped__"):
            self._return = _check_of_annotation(signature.return_annotation, function, cls, unchecked=Ref[Any])
        self._exact_return = exact_of(self._return)
        if self._return is not None:
            if inspect.iscoroutinefunction(function):
                self.returns = self
            else:
                self.returns_now = self

    def check(self, args: list[Any], kwargs: dict[str, Any]) -> None:
        """Raises `TypeError`, the sender's fault, naming method, parameter, what was expected and what came.

        Arity is left to the call, which knows best.
        """
        for (name, exact, check), value in zip(self._by_position, args, strict=False):
            if check is not None and type(value) is not exact:
                complaint = check(value)
                if complaint is not None:
                    self._refuse(name, complaint)
        if self._other_positions is not None:
            for index, value in enumerate(args[len(self._by_position) :]):
                self._refuse(f"args[{index}]", self._other_positions(value))
        for name, value in kwargs.items():
            check = self._by_name.get(name, self._other_names)
            if check is not None:
                self._refuse(name, check(value))

    def complain_of_return(self, value: Any) -> str | None:
        """What is wrong with a returned value, which is the fault of the method; None if nothing is."""
        if type(value) is self._exact_return:
            return None
        assert self._return is not None
        complaint = self._return(value)
        return None if complaint is None else f"{self._name}: its return{complaint}"

    def _refuse(self, parameter: str, complaint: str | None) -> None:
        if complaint is not None:
            raise TypeError(f"{self._name}: {parameter}{complaint}")


def _check_of_annotation(
    annotation: Any, function: FunctionType, cls: type[Any], unchecked: Any = UNKNOWN
) -> Check | None:
    """The check of an annotation; none for `unchecked`: authors write `-> Ref[Any]` for "I do not know"."""
    if annotation is inspect.Parameter.empty:
        return None
    hint = resolve(annotation, function.__globals__, cls)
    return None if hint is UNKNOWN or hint == unchecked else check_of(hint, cls)


class Behaviours(dict[str, Behaviour]):
    """What may be called on a `cls` from outside, by name: public functions of its classes below the base machinery.

    A behaviour is made when it is first called: most vats call few of the methods they have.
    """

    def __init__(self, cls: type[Any]) -> None:
        self._cls = cls
        functions: dict[str, Any] = {}
        machinery = [base for base in cls.__mro__ if "_ocap_machinery" in vars(base)]
        for base in reversed(cls.__mro__):
            if not any(issubclass(one, base) for one in machinery):
                functions |= vars(base)
        self._functions = {
            name: function
            for name, function in functions.items()
            if isinstance(function, FunctionType) and not name.startswith("_")
        }

    def __missing__(self, name: str) -> Behaviour:
        function = self._functions.get(name)
        if function is None:
            available = ", ".join(sorted(self._functions)) or "none"
            raise AttributeError(f"{self._cls.__qualname__} has no method {name}; available: {available}")
        self[name] = behaviour = Behaviour(self._cls, name, function)
        return behaviour


def handler_of(cls: type[Any], name: str) -> Behaviour:
    """A method that the vat itself calls by name; it may be private.

    Raises:
        AttributeError: there is none; the fault of the class's author.
    """
    function = inspect.getattr_static(cls, name, None)
    if not isinstance(function, FunctionType):
        raise AttributeError(f"{cls.__qualname__} has no method {name} to call when a promise settles")  # noqa: TRY004 - the class lacks it
    return Behaviour(cls, name, function)
