"""Fields of off-heap objects: what is checked when, and what an upgrade makes of them."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated, Any

import attrs
import pytest

from ocap.protocol.deliveries import StartVat
from tests.vats.puppet_kernel import Obj, Puppet, Rows, data
from vats import Baggage, DurableExo, Exo, MapStore, Ref, VirtualExo, field
from vats.liveslots import Liveslots
from vats.loader import VatSource


@attrs.frozen
class Ge:
    """As in annotated-types."""

    ge: int


def _no_shouting(_: Any, attribute: Any, value: str) -> None:
    if value.isupper():
        raise ValueError(f"{attribute.name} must not shout")


class Account(DurableExo):
    owner: str = field(validator=_no_shouting)
    balance: Annotated[int, Ge(0)] = 0
    tags: list[str] = field(factory=list)
    rate: float = field(default=0.5, validator=[attrs.validators.ge(0), attrs.validators.le(1)])
    friend: Ref[Any] | None = None
    entries: MapStore[str, int] | None = None
    log: MapStore[str, int] = field(factory=lambda: MapStore[str, int](durable=True))

    async def set(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    async def get(self, name: str) -> Any:
        return getattr(self, name)

    async def push(self, value: Any) -> None:
        self.tags.append(value)

    async def put(self, key: Any, value: Any) -> None:
        self.log[key] = value


class Root(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.account = baggage.provide("account", lambda: Account(owner="ann"))

    async def get_account(self) -> Ref[Any]:
        return self.account

    async def make(self, fields: dict[str, Any]) -> None:
        Account(**fields)


@pytest.fixture
def vat() -> Puppet:
    puppet = Puppet(lambda _powers, _parameters, baggage: Root(baggage))
    assert puppet.start().fault is None
    return puppet


ACCOUNT = "o+d10/1"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("owner", 3, "Account.owner: expected str, came int"),
        ("balance", -1, "Account.balance: expected >= 0, came -1"),
        ("balance", "1", "Account.balance: expected int, came str"),
        ("tags", ["a", 2], "Account.tags[1]: expected str, came int"),
        ("friend", 3, "Account.friend: expected a reference or None, came int"),
    ],
)
def test_wrong_type_is_refused_and_the_old_value_stays(vat: Puppet, name: str, value: Any, text: str) -> None:
    vat.call("get_account")
    before = vat.call("get", name, target=ACCOUNT)
    with pytest.raises(TypeError) as raised:
        vat.call("set", name, value, target=ACCOUNT)
    assert str(raised.value) == text
    assert vat.call("get", name, target=ACCOUNT) == before


@pytest.mark.parametrize(("name", "value"), [("owner", "ANN"), ("rate", 1.5), ("rate", -0.5)])
def test_validators_as_in_attrs_refuse_and_the_old_value_stays(vat: Puppet, name: str, value: Any) -> None:
    vat.call("get_account")
    before = vat.call("get", name, target=ACCOUNT)
    with pytest.raises(ValueError, match=name):
        vat.call("set", name, value, target=ACCOUNT)
    assert vat.call("get", name, target=ACCOUNT) == before


def test_constructor_checks_too(vat: Puppet) -> None:
    with pytest.raises(TypeError, match=r"Account\.owner: expected str, came int"):
        vat.call("make", {"owner": 1})
    with pytest.raises(TypeError, match="needs a value for owner"):
        vat.call("make", {})


def test_a_value_changed_in_place_into_the_wrong_type_is_a_fault(vat: Puppet) -> None:
    vat.call("get_account")
    assert vat.send(ACCOUNT, "push", 3).fault is not None
    vat.restart()
    vat.call("push", "fine", target=ACCOUNT)
    assert vat.call("get", "tags", target=ACCOUNT) == ["fine"]


def test_a_factory_makes_a_value_for_each_and_stores_in_fields_check_their_types(vat: Puppet) -> None:
    vat.call("get_account")
    vat.call("put", "a", 1, target=ACCOUNT)
    vat.restart()
    with pytest.raises(TypeError, match=r"MapStore\[str, int\]: key: expected str, came int"):
        vat.call("put", 1, 1, target=ACCOUNT)


def test_default_and_factory_exclude_each_other() -> None:
    with pytest.raises(TypeError, match="a default or a factory"):
        field(default=1, factory=list)  # type: ignore[call-overload]


def test_virtual_fields_hold_heap_objects(vat: Puppet) -> None:
    class Thing(Exo):
        async def name(self) -> str:
            return "thing"

    class Holder(VirtualExo):
        thing: Any = None

        async def get(self) -> Any:
            return self.thing

    class Maker(Exo):
        def __init__(self) -> None:
            self.kept: MapStore[int, Any] = MapStore()

        async def make(self, n: int) -> None:
            self.kept[n] = Holder(thing=[Thing()])

        async def get(self, n: int) -> Any:
            return self.kept[n].thing[0]

    one = Puppet(lambda *_: Maker())
    one.start()
    one.call("make", 1)
    thing = one.call("get", 1)
    assert one.call("name", target=thing.vref) == "thing"
    assert one.call("get", 1) == thing


# Upgrades, of a vat's own module


class Upgrading:
    """A vat whose file changes between incarnations."""

    def __init__(self, path: Path) -> None:
        self.path = path / "vat.py"
        self.rows = Rows()
        self.incarnation = -1

    def start(self, code: str) -> str | None:
        head = """
            from typing import Any, ClassVar
            from vats import *
            class Root(Exo):
                def __init__(self, baggage):
                    self.things = baggage.provide_map("things")
                async def make(self, n: int, fields: dict) -> None:
                    self.things[n] = Thing(**fields)
                async def read(self, n: int, name: str) -> Any:
                    return getattr(self.things[n], name)
                async def write(self, n: int, name: str, value: Any) -> None:
                    setattr(self.things[n], name, value)
                async def drop(self, n: int) -> None:
                    del self.things[n]
            def build_root_object(vat_powers, parameters, baggage):
                return Root(baggage)
        """
        self.path.write_text(textwrap.dedent(head) + textwrap.dedent(code))
        self.puppet = Puppet(None, self.rows)
        source = VatSource(str(self.path), "v1")
        self.puppet.vat = Liveslots("v1", self.rows, source, registry=source.registry)
        self.incarnation += 1
        return self.puppet.deliver(StartVat(self.incarnation, data({}))).fault

    def call(self, method: str, *args: Any) -> Any:
        return self.puppet.call(method, *args)


@pytest.fixture
def upgrading(tmp_path: Path) -> Upgrading:
    it = Upgrading(tmp_path)
    assert it.start("class Thing(DurableExo):\n    francs: int\n    other: Any = None") is None
    it.call("make", 1, {"francs": 3, "other": Obj("o-5")})
    it.call("make", 2, {"francs": 4})
    return it


def test_new_field_has_its_default_and_a_removed_one_is_dropped(upgrading: Upgrading) -> None:
    assert upgrading.start("class Thing(DurableExo):\n    francs: int\n    colour: str = 'red'") is None
    assert upgrading.call("read", 1, "colour") == "red"
    assert upgrading.call("read", 1, "francs") == 3
    assert b"ro-5" in upgrading.rows.rows, "dropped when the row is next written"
    upgrading.call("write", 1, "colour", "blue")
    assert b"ro-5" not in upgrading.rows.rows
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        upgrading.call("read", 1, "other")


def test_new_field_without_default_says_what_to_do(upgrading: Upgrading) -> None:
    assert upgrading.start("class Thing(DurableExo):\n    francs: int\n    colour: str") is None
    with pytest.raises(AttributeError, match=r"Thing\.colour has no value: .* it has no default"):
        upgrading.call("read", 1, "colour")


MIGRATED = """
class Thing(DurableExo):
    schema_version: ClassVar[int] = 2
    cents: int
    @classmethod
    def migrate(cls, version: int, state: dict[str, Any]) -> dict[str, Any]:
        assert version == 0, "called once a row"
        state["cents"] = 100 * state.pop("francs")
        return state
"""


def test_changed_field_goes_through_migrate_once_a_row(upgrading: Upgrading) -> None:
    assert upgrading.start(MIGRATED) is None
    rows = dict(upgrading.rows.rows)
    assert upgrading.call("read", 1, "cents") == 300
    changed = [key for key, row in upgrading.rows.rows.items() if rows.get(key) != row and key.startswith(b"s")]
    assert changed == [b"so+d10/1"], "lazily, row by row"
    assert upgrading.start(MIGRATED) is None
    assert upgrading.call("read", 1, "cents") == 300
    assert upgrading.call("read", 2, "cents") == 400


def test_value_that_does_not_fit_is_a_located_error(upgrading: Upgrading) -> None:
    assert upgrading.start("class Thing(DurableExo):\n    francs: str") is None
    with pytest.raises(
        Exception, match=r"Thing\.francs as it is stored: expected str, came int; raise the schema_version"
    ):
        upgrading.call("read", 1, "francs")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("return {}['x']", "stored with schema_version 0, now 1: migrate raised KeyError"),
        ("return 3", "migrate returned a int"),
        ("return {'francs': Exo()}", "lives on the heap"),
        ("return {'francs': 'x'}", "expected int, came str"),
    ],
)
def test_failing_migrate_is_a_located_error(upgrading: Upgrading, body: str, text: str) -> None:
    annotation = "Any" if "Exo" in body else "int"
    code = f"""
        class Thing(DurableExo):
            schema_version: ClassVar[int] = 1
            francs: {annotation}
            @staticmethod
            def migrate(version, state):
                {body}
    """
    assert upgrading.start(code) is None
    with pytest.raises(Exception, match=text):
        upgrading.call("read", 1, "francs")
    assert upgrading.start("class Thing(DurableExo):\n    francs: int") is None
    assert upgrading.call("read", 1, "francs") == 3, "the row is as it was"


def test_row_of_a_later_version_is_refused(upgrading: Upgrading) -> None:
    assert upgrading.start(MIGRATED) is None
    upgrading.call("read", 1, "cents")
    assert upgrading.start("class Thing(DurableExo):\n    francs: int = 0") is None
    with pytest.raises(Exception, match="stored with schema_version 2, now 0: an older version of the code"):
        upgrading.call("read", 1, "francs")


RECORDS = """
import attrs
@passable
@attrs.frozen
class Place:
    row: int
    column: str = "a"
class Thing(DurableExo):
    place: Any = None
    places: SetStore[Any] = field(factory=lambda: SetStore(durable=True))
    async def enter(self, row: int) -> None:
        self.place = [Place(row)]
        self.places.add(Place(row))
    async def has(self, row: int) -> Any:
        return [self.place == [Place(row)], Place(row) in self.places, list(self.places) == [Place(row)]]
"""


def test_records_and_keys_of_own_classes_are_found_again_when_the_file_is_renamed(tmp_path: Path) -> None:
    it = Upgrading(tmp_path)
    assert it.start(RECORDS) is None
    it.call("make", 1, {})
    it.puppet.send("o+d10/1", "enter", 3)
    assert it.puppet.call("has", 3, target="o+d10/1") == [True] * 3
    it.path = tmp_path / "other.name.py"
    assert it.start(RECORDS) is None
    assert it.puppet.call("has", 3, target="o+d10/1") == [True] * 3
    assert it.start(RECORDS.replace("@passable", "")) is None
    with pytest.raises(Exception, match=r"Place .* registered with @passable here"):
        it.puppet.call("has", 3, target="o+d10/1")


def test_missing_class_stops_the_start_before_anything_changes(upgrading: Upgrading) -> None:
    rows = dict(upgrading.rows.rows)
    fault = upgrading.start("class Other(DurableExo):\n    pass\nThing = Other")
    assert fault is not None
    assert "stored objects are of class Thing" in fault
    assert rows == upgrading.rows.rows
    assert upgrading.start("class Thing(DurableExo):\n    francs: int") is None


def test_kind_declared_twice_is_refused(upgrading: Upgrading) -> None:
    fault = upgrading.start("class Thing(DurableExo):\n    francs: int\nclass Thing(DurableExo):\n    francs: int")
    assert fault is not None
    assert "class Thing is declared twice" in fault
