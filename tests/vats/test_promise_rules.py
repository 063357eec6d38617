"""Promises: who decides them, what names they go by, in what order messages travel along them."""

from __future__ import annotations

from typing import Any

import pytest

from ocap.protocol.deliveries import Message, Notify
from ocap.protocol.errors import NotPassableError
from ocap.protocol.syscalls import Forward, Resolve, Send, Subscribe
from tests.vats.puppet_kernel import Obj, Prom, Puppet, data, root_of, settled, value_of
from vats import E, Exo, gather, make_promise_kit, race, spawn


class Root(Exo):
    def __init__(self) -> None:
        self.kit: Any = None
        self.kept: Any = None
        self.heard: list[Any] = []

    async def hear(self, what: Any) -> int:
        self.heard.append(what)
        return len(self.heard)

    async def get_heard(self) -> list[Any]:
        return self.heard

    def later(self) -> Any:
        self.kit = make_promise_kit()
        return self.kit.promise

    async def later_inside(self) -> Any:
        return [self.later()]

    async def settle(self, value: Any) -> None:
        self.kit.resolve(value)

    async def settle_badly(self) -> None:
        self.kit.resolve([object()])

    async def keep(self, what: Any) -> None:
        self.kept = what

    async def get_kept(self) -> Any:
        return [self.kept]

    def return_kept(self) -> Any:
        return self.kept

    async def tell_kept(self, *whats: Any) -> None:
        for what in whats:
            E.send_only(self.kept).hear(what)

    async def await_kept(self) -> Any:
        return await self.kept

    def tail_call(self, other: Any) -> Any:
        return E(other).get()

    async def pipeline(self, other: Any) -> Any:
        return await E(E(E(other).a()).b()).c()

    async def pipeline_later(self, other: Any) -> None:
        kit = make_promise_kit()
        answer: Any = E(kit.promise).first()
        E.send_only(answer).second()
        E.send_only(kit.promise).third()
        kit.resolve(other)

    async def itself(self) -> Any:
        kit = make_promise_kit()
        kit.resolve(kit.promise)
        return await kit.promise

    async def chain(self) -> list[Any]:
        p, q = make_promise_kit(), make_promise_kit()
        self.kit = q
        p.resolve(q.promise)
        return [p.promise, q.promise]

    async def two_cycles(self) -> Any:
        p, q = make_promise_kit(), make_promise_kit()
        p.resolve([q.promise])
        q.resolve([p.promise])
        return [p.promise]

    async def gather_all(self, *others: Any) -> Any:
        return await gather(*others, self.one())

    async def one(self) -> int:
        return 1

    async def race_all(self, *others: Any) -> Any:
        return await race(*others)

    async def gather_nothing(self) -> Any:
        return await gather()


@pytest.fixture
def vat() -> Puppet:
    puppet = Puppet(root_of(Root))
    puppet.start()
    return puppet


def test_imported_promise_is_subscribed_once(vat: Puppet) -> None:
    assert vat.send("o+0", "keep", Prom("p-5"), result=None).syscalls == (Subscribe("p-5"),)
    assert vat.send("o+0", "keep", [Prom("p-5")], result=None).syscalls == ()


def test_returned_import_is_forwarded_at_once(vat: Puppet) -> None:
    vat.send("o+0", "keep", Prom("p-5"), result=None)
    assert vat.send("o+0", "return_kept").syscalls == (Forward("p-1", "p-5"),)


def test_tail_call_no_longer_depends_on_this_vat(vat: Puppet) -> None:
    outcome = vat.send("o+0", "tail_call", Obj("o-5"))
    assert outcome.syscalls == (Send("o-5", "get", data([[], {}]), "p+1"), Forward("p-1", "p+1"))


def test_returned_local_promise_takes_the_results_name(vat: Puppet) -> None:
    assert vat.send("o+0", "later").syscalls == ()
    assert vat.send("o+0", "settle", 3, result=None).syscalls == (Resolve((settled("p-1", 3),)),)


def test_promise_inside_data_is_exported_then_resolved(vat: Puppet) -> None:
    assert vat.call("later_inside") == [Prom("p+1")]
    assert vat.send("o+0", "settle", 3, result=None).syscalls == (Resolve((settled("p+1", 3),)),)


def test_settled_promise_mentioned_again_gets_a_new_name_resolved_at_once(vat: Puppet) -> None:
    vat.send("o+0", "keep", Prom("p-5"), result=None)
    vat.notify("p-5", 4)
    for name in ("p+1", "p+2"):
        assert vat.call("get_kept") == [Prom(name)]
        assert vat.settlements()[1:] == [settled(name, 4)]
    assert vat.vat.promises.table == {}


def test_cycle_through_data_closes_inside_one_batch(vat: Puppet) -> None:
    assert vat.call("two_cycles") == [Prom("p+1")]
    batch = {s.promise: value_of(s.data) for s in vat.settlements()}
    assert batch == {"p-1": [Prom("p+1")], "p+1": [Prom("p+2")], "p+2": [Prom("p+1")]}
    assert len(vat.outcome.syscalls) == 1


def test_promise_resolved_to_itself_is_rejected(vat: Puppet) -> None:
    with pytest.raises(TypeError, match="cycle"):
        vat.call("itself")


def test_result_among_its_own_arguments_is_that_promise(vat: Puppet) -> None:
    outcome = vat.send("o+0", "keep", Prom("p-1"), result="p-1")
    assert outcome.syscalls == (Resolve((settled("p-1", None),)),)


def test_behaviour_returning_its_own_result_is_a_cycle(vat: Puppet) -> None:
    class Own(Exo):
        async def give_back(self, mine: Any) -> Any:
            return mine

    own = Puppet(root_of(Own))
    own.start()
    with pytest.raises(TypeError, match="cycle"):
        own.call("give_back", Prom("p-1"))


def test_followers_pass_as_what_they_follow(vat: Puppet) -> None:
    outcome = vat.send("o+0", "chain")
    (settlement,) = vat.settlements()
    assert settlement.data.slots == ("p+1",)
    assert outcome.syscalls[1:] == ()
    assert vat.send("o+0", "settle", 3, result=None).syscalls == (Resolve((settled("p+1", 3),)),)


def test_unpassable_settlement_rejects_instead(vat: Puppet) -> None:
    vat.send("o+0", "later")
    vat.send("o+0", "settle_badly", result=None)
    (settlement,) = vat.settlements()
    assert settlement.rejected
    assert isinstance(value_of(settlement.data), NotPassableError)


def test_import_given_as_result_is_decided_here_from_then_on(vat: Puppet) -> None:
    vat.send("o+0", "keep", Prom("p-5"), result=None)
    assert vat.send("o+0", "later", result="p-5").syscalls == ()
    assert vat.send("o+0", "tell_kept", 1, result=None).syscalls == ()
    assert vat.deliver(Notify((settled("p-5", "stale"),))).syscalls == ()
    outcome = vat.send("o+0", "settle", Obj("o-8"), result=None)
    assert outcome.syscalls == (
        Resolve((settled("p-5", Obj("o-8")),)),
        Send("o-8", "hear", data([[1], {}]), None),
    )


def test_pipelined_sends_leave_in_one_crank(vat: Puppet) -> None:
    vat.send("o+0", "pipeline", Obj("o-5"))
    assert [(s.target, s.method, s.result) for s in vat.sends()] == [
        ("o-5", "a", "p+1"),
        ("p+1", "b", "p+2"),
        ("p+2", "c", "p+3"),
    ]


def test_messages_parked_at_ours_go_out_in_order_when_it_settles(vat: Puppet) -> None:
    vat.send("o+0", "pipeline_later", Obj("o-5"))
    assert [(s.target, s.method) for s in vat.sends()] == [("o-5", "first"), ("p+1", "second"), ("o-5", "third")]


def test_messages_to_a_settled_import_go_to_what_it_settled_to(vat: Puppet) -> None:
    vat.send("o+0", "keep", Prom("p-5"), result=None)
    vat.send("o+0", "tell_kept", 1, result=None)
    assert vat.sends()[0].target == "p-5"
    vat.notify("p-5", Obj("o-6"))
    vat.send("o+0", "tell_kept", 2, result=None)
    assert vat.sends()[0].target == "o-6"


def test_piped_promise_that_comes_home_stays_in_order(vat: Puppet) -> None:
    vat.send("o+0", "keep", Prom("p-5"), result=None)
    vat.send("o+0", "tell_kept", 1, result=None)
    vat.notify("p-5", Obj("o+0"))
    # The first message is still with the kernel, so the second follows it there.
    vat.send("o+0", "tell_kept", 2, result=None)
    assert [s.target for s in vat.sends()] == ["o+0"]


def test_promise_that_comes_home_unpiped_is_called_here(vat: Puppet) -> None:
    vat.send("o+0", "keep", Prom("p-5"), result=None)
    vat.notify("p-5", Obj("o+0"))
    assert vat.send("o+0", "tell_kept", 2, result=None).syscalls == ()
    assert vat.call("get_heard") == [2]


def test_message_to_data_names_the_method(vat: Puppet) -> None:
    vat.send("o+0", "keep", Prom("p-5"), result=None)
    vat.notify("p-5", 3)
    outcome = vat.send("o+0", "tell_kept", 2, result=None)
    assert "cannot send hear to a int" in outcome.complaints[0][1]


def test_notify_batch_subscribes_only_to_what_it_does_not_settle(vat: Puppet) -> None:
    vat.send("o+0", "keep", Prom("p-5"), result=None)
    batch = (settled("p-5", [Prom("p-6"), Prom("p-7")]), settled("p-6", 5))
    assert vat.deliver(Notify(batch)).syscalls == (Subscribe("p-7"),)


def test_gather_keeps_order_and_spawns_coroutines(vat: Puppet) -> None:
    vat.send("o+0", "gather_all", Prom("p-5"), Prom("p-6"))
    vat.notify("p-6", 6)
    assert vat.settlements() == []
    vat.notify("p-5", 5)
    assert vat.settlements() == [settled("p-1", [5, 6, 1])]


def test_gather_fails_with_the_first_failure(vat: Puppet) -> None:
    vat.send("o+0", "gather_all", Prom("p-5"), Prom("p-6"))
    vat.notify("p-6", LookupError("x"))
    assert vat.settlements()[0].rejected


def test_gather_of_nothing_is_an_empty_list(vat: Puppet) -> None:
    assert vat.call("gather_nothing") == []


def test_race_settles_as_the_first(vat: Puppet) -> None:
    vat.send("o+0", "race_all", Prom("p-5"), Prom("p-6"))
    vat.notify("p-6", 6)
    assert vat.settlements() == [settled("p-1", 6)]
    vat.notify("p-5", 5)
    assert vat.settlements() == []


def test_message_pipelined_to_a_result_waits_for_it(vat: Puppet) -> None:
    vat.send("o+0", "later", result="p-3")
    assert vat.deliver(Message("p-3", "hear", data([["x"], {}]), "p-4")).syscalls == ()
    vat.send("o+0", "settle", Obj("o+0"), result=None)
    assert settled("p-4", 1) in vat.settlements()


def test_promises_work_only_in_a_vat() -> None:
    async def nothing() -> None: ...

    coroutine = nothing()
    with pytest.raises(RuntimeError, match="only inside a vat"):
        make_promise_kit()
    with pytest.raises(RuntimeError, match="only inside a vat"):
        _ = spawn(coroutine)
    coroutine.close()
