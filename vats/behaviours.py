"""Behaviours: the public methods of an exo class, each with the guards of its parameters."""

from __future__ import annotations

import inspect
import typing
from types import FunctionType, SimpleNamespace
from typing import Any

from vats.guards import Check, check_of


class Behaviour:
    """One method as a message reaches it.

    Attributes:
        function: the plain function on the class.
        is_guarded: whether any parameter has a check.
    """

    __slots__ = ("_by_name", "_by_position", "_name", "_other_names", "_other_positions", "function", "is_guarded")

    def __init__(self, cls: type[Any], name: str, function: FunctionType) -> None:
        self.function = function
        self._name = f"{cls.__name__}.{name}"
        self._by_position: list[tuple[str, Check | None]] = []
        self._by_name: dict[str, Check | None] = {}
        self._other_positions: Check | None = None
        self._other_names: Check | None = None
        # Parameters of the function itself, not of what it wraps: these are the ones called.
        parameters = list(inspect.signature(function, follow_wrapped=False).parameters.values())[1:]
        checks: list[Check | None] = []
        for parameter in parameters:
            check = _check_of_parameter(parameter, function, cls)
            checks.append(check)
            match parameter.kind:
                case inspect.Parameter.VAR_POSITIONAL:
                    self._other_positions = check
                case inspect.Parameter.VAR_KEYWORD:
                    self._other_names = check
                case kind:
                    if kind is not inspect.Parameter.KEYWORD_ONLY:
                        self._by_position.append((parameter.name, check))
                    if kind is not inspect.Parameter.POSITIONAL_ONLY:
                        self._by_name[parameter.name] = check
        self.is_guarded = any(checks)

    def check(self, args: list[Any], kwargs: dict[str, Any]) -> None:
        """Raises `TypeError`, the sender's fault, naming method, parameter, what was expected and what came.

        Arity is left to the call, which knows best.
        """
        for (name, check), value in zip(self._by_position, args, strict=False):
            if check is not None:
                self._judge(name, check(value))
        if self._other_positions is not None:
            for index, value in enumerate(args[len(self._by_position) :]):
                self._judge(f"args[{index}]", self._other_positions(value))
        for name, value in kwargs.items():
            check = self._by_name.get(name, self._other_names)
            if check is not None:
                self._judge(name, check(value))

    def _judge(self, parameter: str, complaint: str | None) -> None:
        if complaint is not None:
            raise TypeError(f"{self._name}: {parameter}{complaint}")


def _check_of_parameter(parameter: inspect.Parameter, function: FunctionType, cls: type[Any]) -> Check | None:
    if parameter.annotation is inspect.Parameter.empty:
        return None
    holder = SimpleNamespace(__annotations__={"it": parameter.annotation})
    own = {base.__name__: base for base in cls.__mro__[:-1]}
    try:
        hint = typing.get_type_hints(holder, function.__globals__, own, include_extras=True)["it"]
    except Exception:  # names only type checkers see, names local to a function: such a parameter stays unchecked
        return None
    return check_of(hint, cls)


def behaviours_of(cls: type[Any]) -> dict[str, Behaviour]:
    """What may be called on a `cls` from outside: public functions of its classes below the base machinery."""
    functions: dict[str, Any] = {}
    machinery = [base for base in cls.__mro__ if "_ocap_machinery" in vars(base)]
    for base in reversed(cls.__mro__):
        if not any(issubclass(one, base) for one in machinery):
            functions |= vars(base)
    return {
        name: Behaviour(cls, name, function)
        for name, function in functions.items()
        if isinstance(function, FunctionType) and not name.startswith("_")
    }
