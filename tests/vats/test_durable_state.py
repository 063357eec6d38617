"""Durable exos, the baggage and stores: what survives, when it is written, what is refused."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
import pytest

from ocap.protocol.errors import NotPassableError
from tests.vats.puppet_kernel import Obj, Prom, Puppet
from vats import Baggage, DurableExo, E, Exo, MapStore, make_promise_kit, passable
from vats.budget import Budget


@passable
@attrs.frozen
class Entry:
    rows: list[int]


class Account(DurableExo):
    limit: ClassVar[int] = 9
    owner: str
    balance: int = 0
    rows: list[Any] = []  # noqa: RUF012 - copied for each object
    friend: Any = None

    async def deposit(self, amount: int) -> int:
        self.balance += amount
        return self.balance

    async def set(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    async def get(self, name: str) -> Any:
        return getattr(self, name)

    async def push(self, item: Any) -> int:
        self.rows.append(item)
        return len(self.rows)

    async def push_late(self, promise: Any) -> None:
        rows = self.rows
        rows.append(await promise)

    async def set_list_then_change_it(self) -> list[Any]:
        mine = [1]
        self.rows = mine
        mine.append(2)
        return self.rows

    async def set_new_friend(self) -> None:
        self.friend = Account(owner="friend")

    async def set_heap_friend(self) -> None:
        self.friend = [Exo()]

    async def push_heap(self) -> None:
        self.rows.append(Exo())


class Root(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.accounts = baggage.provide_map("accounts")

    async def open(self, owner: str) -> Account:
        account = self.accounts[owner] = Account(owner=owner)
        return account

    async def get(self, owner: str) -> Any:
        return self.accounts[owner]

    async def same(self, owner: str) -> bool:
        return self.accounts[owner] is self.accounts[owner]

    async def close(self, owner: Any) -> None:
        del self.accounts[owner]

    async def make_badly(self, fields: dict[str, Any]) -> None:
        Account(**fields)

    async def assign_stray(self) -> None:
        Account(owner="x").colour = "red"

    async def put(self, key: Any, value: Any) -> None:
        self.accounts[key] = value

    async def read(self, key: Any) -> Any:
        return self.accounts[key]

    async def contains(self, key: Any) -> bool:
        return key in self.accounts

    async def keys(self) -> list[Any]:
        return list(self.accounts)

    async def size(self) -> int:
        return len(self.accounts)

    async def provide(self, value: Any) -> Any:
        return self.baggage.provide("one", lambda: value)

    async def nest(self) -> Any:
        inner: MapStore[str, int] = MapStore(durable=True)
        inner["n"] = 1
        self.accounts["inner"] = {"store": [inner]}
        return inner

    async def read_inner(self) -> Any:
        return self.accounts["inner"]["store"][0]["n"]

    async def drain(self) -> list[Any]:
        seen = []
        for key in self.accounts:
            seen.append(key)
            del self.accounts[key]
            if key < 100:
                self.accounts[key + 100] = None
        return seen

    async def fill(self, count: int) -> None:
        for n in range(count):
            self.accounts[n] = n

    async def put_promise(self) -> None:
        self.accounts["p"] = {"deep": [make_promise_kit().promise]}

    async def own_purse(self, account: Account) -> int:
        return account.balance

    async def call_store(self) -> Any:
        store: Any = self.accounts
        return await E(store).get("x")


def build(vat_powers: Any, parameters: Any, baggage: Baggage) -> Root:
    return Root(baggage)


@pytest.fixture
def vat() -> Puppet:
    puppet = Puppet(build)
    assert puppet.start().fault is None
    return puppet


def open_account(vat: Puppet, owner: str = "alice") -> str:
    vref: str = vat.call("open", owner).vref
    return vref


def test_state_is_written_with_the_crank_and_survives_restart(vat: Puppet) -> None:
    account = open_account(vat)
    assert account == "o+d10/1"
    assert vat.call("deposit", 3, target=account) == 3
    vat.restart()
    assert vat.call("deposit", 4, target=account) == 7
    assert vat.call("get", "alice").vref == account
    assert vat.call("same", "alice") is True


def test_failed_behaviour_keeps_its_changes_but_a_faulted_crank_leaves_none() -> None:
    vat = Puppet(build, budget=Budget(store_bytes=5000))
    vat.start()
    account = open_account(vat)
    assert vat.send(account, "set", "owner", "x" * 6000).fault is not None
    vat.restart()
    assert vat.call("get", "owner", target=account) == "alice"


def test_unchanged_state_is_not_written(vat: Puppet) -> None:
    account = open_account(vat)
    vat.call("get", "rows", target=account)
    assert vat.outcome.checkpoint == ()
    vat.call("set", "balance", 0, target=account)
    assert vat.outcome.checkpoint == ()


def test_crank_without_new_ids_writes_nothing(vat: Puppet) -> None:
    vat.send("o+0", "keys")
    assert vat.outcome.checkpoint == ()


def test_change_in_place_is_persisted(vat: Puppet) -> None:
    account = open_account(vat)
    assert vat.call("push", 1, target=account) == 1
    vat.restart()
    assert vat.call("push", 2, target=account) == 2


def test_change_in_place_after_an_await_is_persisted(vat: Puppet) -> None:
    account = open_account(vat)
    vat.send(account, "push_late", Prom("p-9"), result=None)
    vat.call("deposit", 1, target=account)
    vat.notify("p-9", "late")
    vat.restart()
    assert vat.call("get", "rows", target=account) == ["late"]


def test_defaults_are_not_shared(vat: Puppet) -> None:
    vat.call("push", 1, target=open_account(vat, "a"))
    assert vat.call("push", 1, target=open_account(vat, "b")) == 1


def test_assignment_copies(vat: Puppet) -> None:
    assert vat.call("set_list_then_change_it", target=open_account(vat)) == [1]


def test_new_object_in_a_field_is_stored_with_it(vat: Puppet) -> None:
    account = open_account(vat)
    vat.call("set_new_friend", target=account)
    vat.restart()
    friend = vat.call("get", "friend", target=account)
    assert vat.call("get", "owner", target=friend.vref) == "friend"


@pytest.mark.parametrize(
    ("fields", "text"),
    [({}, "needs a value for owner"), ({"owner": "a", "colour": 1}, "no field colour; its fields: owner, balance")],
)
def test_constructor_names_missing_and_unknown_fields(vat: Puppet, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError) as raised:
        vat.call("make_badly", fields)
    assert text in str(raised.value)


def test_only_fields_can_be_assigned(vat: Puppet) -> None:
    with pytest.raises(AttributeError, match="Account has no field colour"):
        vat.call("assign_stray")


def test_ephemeral_values_are_refused_at_the_assignment_with_their_place(vat: Puppet) -> None:
    account = open_account(vat)
    with pytest.raises(NotPassableError) as raised:
        vat.call("set_heap_friend", target=account)
    assert raised.value.path == "Account.friend[0]"
    with pytest.raises(NotPassableError) as raised:
        vat.call("set", "friend", Prom("p-9"), target=account)
    assert "promise cannot be stored" in str(raised.value)
    with pytest.raises(NotPassableError) as raised:
        vat.call("put_promise")
    assert raised.value.path == 'value["deep"][0]'


def test_ephemeral_value_put_in_place_is_a_fault(vat: Puppet) -> None:
    outcome = vat.send(open_account(vat), "push_heap")
    assert outcome.fault is not None
    assert "changed in place" in outcome.fault


def test_imports_in_durable_state_keep_their_interface(vat: Puppet) -> None:
    vat.call("put", ("k", Obj("o-5", "Thing")), Obj("o-6", "Other"))
    vat.restart()
    ((key, reference),) = vat.call("keys")
    assert (key, reference.vref, reference.interface) == ("k", "o-5", "Thing")
    assert vat.call("read", ("k", Obj("o-5"))).interface == "Other"


def test_guard_of_an_own_class_takes_own_instances_only(vat: Puppet) -> None:
    account = open_account(vat)
    assert vat.call("own_purse", Obj(account)) == 0
    with pytest.raises(TypeError, match="expected Account, came a reference"):
        vat.call("own_purse", Obj("o-5", "Account"))


def test_references_are_counted_once_a_row(vat: Puppet) -> None:
    vat.call("put", 1, [Obj("o-5")])
    vat.call("put", 2, {"a": Obj("o-5")})
    assert vat.rows.rows[b"ro-5"] == b"2 Thing"
    vat.call("put", 1, None)
    assert vat.rows.rows[b"ro-5"] == b"1 Thing"
    vat.call("close", 2)
    assert b"ro-5" not in vat.rows.rows


def test_field_without_stored_value_has_its_default(vat: Puppet) -> None:
    class OldKind(DurableExo):
        __qualname__ = "Kind"
        name: str

    class NewKind(DurableExo):
        __qualname__ = "Kind"
        name: str
        colour: str = "red"

        async def get_colour(self) -> str:
            return self.colour

    class Maker(Exo):
        async def make(self) -> Any:
            return OldKind(name="x")

    one = Puppet(lambda *_: Maker())
    NewKind.__init_subclass__()
    OldKind.__init_subclass__()  # the latest definition counts
    one.start()
    vref = one.call("make").vref
    NewKind.__init_subclass__()
    one.restart()
    assert one.call("get_colour", target=vref) == "red"


def test_missing_class_keeps_the_next_incarnation_from_starting(vat: Puppet) -> None:
    open_account(vat)
    vat.rows.rows[b"k10"] = b"bank.Gone"
    outcome = vat.restart()
    assert outcome.fault is not None
    assert "stored objects are of class bank.Gone, which this vat no longer defines" in outcome.fault


def test_missing_class_without_objects_does_no_harm(vat: Puppet) -> None:
    vat.rows.rows[b"k11"] = b"bank.Gone"
    assert vat.restart().fault is None


def test_map_iterates_in_key_order_and_counts(vat: Puppet) -> None:
    keys = ["b", "a", 2, 1, None, (1, "x"), -5, 10**30, True, 1.5, b"z"]
    for key in keys:
        vat.call("put", key, 0)
    assert vat.call("keys") == [None, True, -5, 1, 2, 10**30, 1.5, "a", "b", b"z", (1, "x")]
    assert vat.call("size") == len(keys)
    vat.call("close", "a")
    assert vat.call("contains", "a") is False
    assert vat.call("size") == len(keys) - 1
    with pytest.raises(KeyError):
        vat.call("read", "a")


def test_map_may_change_while_iterated(vat: Puppet) -> None:
    vat.call("fill", 80)
    assert vat.call("drain") == list(range(80)) + list(range(100, 180))
    assert vat.call("size") == 0
    assert not [key for key in vat.rows.rows if key.startswith(b"m1 ")]


def test_map_refuses_what_is_no_key(vat: Puppet) -> None:
    with pytest.raises(NotPassableError, match="cannot be a key"):
        vat.call("put", [1], 0)


def test_nested_store_survives(vat: Puppet) -> None:
    assert vat.call("nest").vref == "o+d1/2"
    vat.restart()
    assert vat.call("read_inner") == 1


def test_store_has_no_methods_for_messages(vat: Puppet) -> None:
    with pytest.raises(AttributeError, match="MapStore has no method get"):
        vat.call("call_store")


def test_provide_makes_once(vat: Puppet) -> None:
    assert vat.call("provide", [1]) == [1]
    vat.restart()
    assert vat.call("provide", [2]) == [1]


def test_ids_are_never_used_again(vat: Puppet) -> None:
    first = open_account(vat, "a")
    vat.restart()
    assert open_account(vat, "b") != first


def test_passable_records_in_fields_keep_changes_in_place(vat: Puppet) -> None:
    class Holder(DurableExo):
        entry: Entry

        async def push(self) -> list[int]:
            self.entry.rows.append(1)
            return self.entry.rows

    class Maker(Exo):
        async def make(self) -> Any:
            return Holder(entry=Entry([]))

    one = Puppet(lambda *_: Maker())
    one.start()
    vref = one.call("make").vref
    one.call("push", target=vref)
    one.restart()
    assert one.call("push", target=vref) == [1, 1]


@pytest.mark.parametrize("wrapped", [lambda rows: rows, lambda rows: [rows], lambda rows: (rows,), Entry])
def test_what_a_suspended_behaviour_holds_is_stored_when_that_changes_it_later(wrapped: Any) -> None:
    """It changes a list in a crank in which nobody looks at the object that the list is of."""

    class Holder(DurableExo):
        value: Any = None

        async def push(self, gate: Any) -> None:
            rows = self.value
            while not isinstance(rows, list) or (rows and isinstance(rows[0], list)):
                rows = rows.rows if isinstance(rows, Entry) else rows[0]
            await gate
            rows.append(1)

        async def get(self) -> Any:
            return self.value

    class Maker(Exo):
        async def make(self) -> Any:
            return Holder(value=wrapped([]))

    one = Puppet(lambda *_: Maker())
    one.start()
    vref = one.call("make").vref
    one.send(vref, "push", Prom("p-7"), result=None)
    one.notify("p-7", None)
    one.restart()
    assert wrapped([1]) == one.call("get", target=vref)


def test_parameters_arrive() -> None:
    seen: list[Any] = []

    def keep(vat_powers: Any, parameters: Any, baggage: Any) -> Exo:
        seen.append(parameters)
        return Exo()

    Puppet(keep).start({"peer": Obj("o-4")})
    assert repr(seen[0]["peer"]) == "<Thing elsewhere>"
