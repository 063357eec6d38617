"""Exceptions registered with `@passable` arrive as themselves; the public strategies draw what passes."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, settings

from ocap.protocol.capdata import CapData
from ocap.protocol.errors import RemoteError
from ocap.protocol.marshal import Decoder, encode
from ocap.protocol.passable import Registry
from tests.protocol.strategies import Point, exact
from tests.vats.puppet_kernel import Obj
from vats import passable
from vats.testing import keys, passables


@passable
class OverdrawnError(ValueError):
    """An error with an argument of its own."""

    def __init__(self, missing: int, where: str = "here") -> None:
        super().__init__(missing, where)
        self.missing = missing


@passable
@attrs.frozen
class CodedError(Exception):
    code: int


@passable
class PickyError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(one)


class PlainError(ValueError):
    pass


def there_and_back(value: Any, registry: Registry | None = None) -> Any:
    body, references = encode(value)
    slots = tuple(reference.vref for reference in references)
    return Decoder(Obj, lambda slot: slot, *([registry] if registry else [])).decode(CapData(body, slots))


def test_a_registered_exception_keeps_class_and_args() -> None:
    error = OverdrawnError(3, "there")
    error.error_id = "error:v1.0.1"  # type: ignore[attr-defined]
    back = there_and_back([error])[0]
    assert type(back) is OverdrawnError
    assert (back.args, back.missing, vars(back)["error_id"]) == ((3, "there"), 3, "error:v1.0.1")
    coded = there_and_back(CodedError(7))
    assert (type(coded), coded.code) == (CodedError, 7)


def test_references_in_its_args_pass() -> None:
    back = there_and_back(OverdrawnError(Obj("o-5")))  # type: ignore[arg-type]
    assert back.missing == Obj("o-5")


def test_where_it_cannot_be_made_it_is_a_remote_error() -> None:
    for error, registry in ((OverdrawnError(3), Registry()), (PickyError(1, 2), None), (PlainError("x"), None)):
        back = there_and_back(error, registry)
        assert type(back) is RemoteError
        assert back.name == type(error).__name__


def test_only_exceptions_and_frozen_classes_are_registered() -> None:
    for cls in (int, type("Plain", (), {}), KeyboardInterrupt):
        with pytest.raises(TypeError, match="takes an exception or a frozen attrs class"):
            passable(cls)


@settings(max_examples=300)
@given(passables(records=passables(max_leaves=2).map(Point)))
def test_what_the_public_strategy_draws_passes(value: Any) -> None:
    assert exact(there_and_back(value)) == exact(value)


@given(keys())
def test_keys_can_be_hashed(key: Any) -> None:
    assert {key: 1}
