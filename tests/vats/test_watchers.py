"""Durable watchers and durable promises: who is told what, in which incarnation."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from ocap.protocol.deliveries import BringOutYourDead, Message
from ocap.protocol.errors import DisconnectedError, NotPassableError
from ocap.protocol.syscalls import Forward, Keep, Resolve, Subscribe
from tests.vats.puppet_kernel import Obj, Prom, Puppet, data, value_of
from vats import (
    Baggage,
    DurableExo,
    DurableExoKit,
    DurablePromiseKit,
    E,
    Exo,
    Facet,
    Promise,
    Ref,
    VirtualExo,
    facet,
    make_durable_promise_kit,
    make_promise_kit,
    watch,
)


class Order(DurableExo):
    heard: list[Any] = []  # noqa: RUF012 - copied for each object

    async def on_fulfilled(self, value: Any, *args: Any) -> None:
        self.heard.append(["fulfilled", value, *args])

    def on_rejected(self, error: Exception, *args: Any) -> None:
        self.heard.append(["rejected", type(error).__name__, *args])

    async def _privately(self, value: int) -> None:
        self.heard.append(["privately", value])

    async def on_broken(self, value: Any) -> None:
        raise ValueError("broken")

    async def get_heard(self) -> list[Any]:
        return self.heard


class OnlyGood(DurableExo):
    async def on_fulfilled(self, value: Any) -> None: ...


class OnlyBad(DurableExo):
    heard: int = 0

    async def on_rejected(self, error: Exception) -> None:
        self.heard += 1

    async def get_heard(self) -> int:
        return self.heard


class Pair(DurableExoKit):
    heard: Any = None

    class Ear(Facet["Pair"]):
        async def on_fulfilled(self, value: Any) -> None:
            self.kit.heard = value

        async def get_heard(self) -> Any:
            return self.kit.heard

    ear = facet(Ear)


class Passing(VirtualExo):
    async def on_fulfilled(self, value: Any) -> None: ...


class Root(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.order = baggage.provide("order", Order)
        self.kits: list[Any] = []

    async def get_order(self) -> Any:
        return self.order

    async def watch(self, promise: Promise[Any], *args: Any, times: int = 1) -> None:
        for _ in range(times):
            watch(promise, self.order, *args)

    async def watch_with(self, sort: str, promise: Promise[Any]) -> Any:
        makers: dict[str, Any] = {"good": OnlyGood, "bad": OnlyBad, "facet": lambda: Pair().ear}
        watcher = makers[sort]()
        watch(promise, watcher)
        return watcher

    async def watch_named(self, promise: Promise[Any], name: str) -> None:
        watch(promise, self.order, fulfilled=name)

    async def watch_send(self, other: Ref[Any]) -> None:
        watch(E(other).ask(), self.order, "sent")

    async def watch_local(self, follows: Any = None) -> None:
        kit = make_promise_kit()
        self.kits.append(kit)
        watch(kit.promise, self.order, "local")

    async def follow(self, promise: Promise[Any]) -> None:
        self.kits[-1].resolve(promise)

    async def resolve_local(self, value: Any) -> None:
        self.kits[-1].resolve(value)

    async def watch_settled(self) -> None:
        kit = make_promise_kit()
        watch(kit.promise, self.order, "before")
        kit.resolve(1)
        watch(kit.promise, self.order, "after")
        kit = make_promise_kit()
        kit.reject(ValueError("no"))
        watch(kit.promise, self.order, "bad")

    async def misuse(self, what: str, promise: Promise[Any]) -> None:
        match what:
            case "heap":
                watch(promise, self)  # type: ignore[arg-type]
            case "virtual":
                watch(promise, Passing())  # type: ignore[arg-type]
            case "no promise":
                watch(3, self.order)  # type: ignore[arg-type]
            case "no handler":
                watch(promise, DurablePromiseKit(vpid="p+1"))
            case "argument":
                watch(promise, self.order, [Exo()])

    # Durable promises

    async def make_kit(self) -> Promise[Any]:
        kit = self.baggage["kit"] = make_durable_promise_kit()
        return kit.promise

    async def get_kit(self) -> Any:
        return self.baggage["kit"]

    async def get_promise(self) -> Promise[Any]:
        promise: Promise[Any] = self.baggage["kit"].promise
        return promise

    async def settle_kit(self, value: Any) -> None:
        kit = self.baggage["kit"]
        kit.reject(value) if isinstance(value, Exception) else kit.resolve(value)

    async def settle_kit_with_heap(self) -> None:
        self.baggage["kit"].resolve(Exo())

    async def settle_kit_with_itself(self) -> None:
        kit = self.baggage["kit"]
        kit.resolve(kit.promise)

    async def follow_with_kit(self, promise: Promise[Any]) -> None:
        self.baggage["kit"].resolve(promise)
        self.baggage["kit"].resolve("ignored")

    async def watch_kit(self) -> None:
        watch(self.baggage["kit"].promise, self.order, "kit")

    async def drop_kit(self) -> None:
        del self.baggage["kit"]

    async def read_kit(self) -> Any:
        return await self.baggage["kit"].promise

    async def reject_with_text(self) -> None:
        self.baggage["kit"].reject("text")


@pytest.fixture
def vat() -> Puppet:
    puppet = Puppet(lambda _powers, _parameters, baggage: Root(baggage))
    assert puppet.start().fault is None
    puppet.call("get_order")
    return puppet


ORDER = "o+d10/1"


def tell(vat: Puppet, method: str, *args: Any, **kwargs: Any) -> Any:
    outcome = vat.deliver(Message("o+0", method, data([list(args), kwargs]), None))
    assert outcome.fault is None
    return outcome.syscalls


def heard(vat: Puppet, target: str = ORDER) -> Any:
    return vat.call("get_heard", target=target)


def registrations(vat: Puppet) -> list[bytes]:
    return [key for key in vat.rows.rows if key.startswith(b"h")]


def settlement(vat: Puppet) -> Any:
    (call,) = [call for call in vat.outcome.syscalls if isinstance(call, Resolve)]
    (one,) = call.settlements
    return one.promise, value_of(one.data)


@pytest.mark.parametrize("restarts", [0, 1, 3])
def test_an_import_is_kept_and_heard_in_whichever_incarnation(vat: Puppet, restarts: int) -> None:
    assert tell(vat, "watch", Prom("p-9"), "an argument", Obj("o-5")) == (Subscribe("p-9"), Keep("p-9", False))
    assert vat.rows.rows[b"ro-5"] == b"1 Thing"
    for _ in range(restarts):
        assert vat.restart().syscalls == ()
    vat.notify("p-9", 42)
    assert heard(vat) == [["fulfilled", 42, "an argument", Obj("o-5")]]
    assert registrations(vat) == []
    assert vat.rows.rows[b"ro-5"] == b"1 Thing", "what was heard"
    vat.notify("p-9", 43)  # stale
    assert len(heard(vat)) == 1


def test_a_rejection_is_heard(vat: Puppet) -> None:
    tell(vat, "watch", Prom("p-9"))
    vat.restart()
    vat.notify("p-9", DisconnectedError("gone"))
    assert heard(vat) == [["rejected", "DisconnectedError"]]


def test_watching_twice_is_hearing_twice_and_keeping_once(vat: Puppet) -> None:
    assert tell(vat, "watch", Prom("p-9"), 1, times=2) == (Subscribe("p-9"), Keep("p-9", False))
    vat.restart()
    assert tell(vat, "watch", Prom("p-9"), 2) == (Subscribe("p-9"),), "a name that is kept stays so"
    vat.notify("p-9", 0)
    assert heard(vat) == [["fulfilled", 0, 1], ["fulfilled", 0, 1], ["fulfilled", 0, 2]]


def test_a_result_of_a_send_is_watched(vat: Puppet) -> None:
    send, keep = tell(vat, "watch_send", Obj("o-5"))
    assert keep == Keep(send.result, False)
    vat.restart()
    vat.notify(send.result, "answer")
    assert heard(vat) == [["fulfilled", "answer", "sent"]]


def test_a_local_promise_is_heard_in_its_incarnation_or_rejected_in_the_next(vat: Puppet) -> None:
    subscribe, keep = tell(vat, "watch_local")
    assert keep == Keep(subscribe.promise, False)
    tell(vat, "resolve_local", 5)
    assert heard(vat) == [["fulfilled", 5, "local"]]
    subscribe = tell(vat, "watch_local")[0]
    vat.restart()
    vat.notify(subscribe.promise, DisconnectedError("the kernel says so"))
    assert heard(vat)[1:] == [["rejected", "DisconnectedError", "local"]]


def test_a_registration_follows_the_promise(vat: Puppet) -> None:
    subscribe, _ = tell(vat, "watch_local")
    calls = tell(vat, "follow", Prom("p-9"))
    assert calls == (Subscribe("p-9"), Forward(subscribe.promise, "p-9"), Keep("p-9", False))
    vat.restart()
    vat.notify("p-9", 7)
    assert heard(vat) == [["fulfilled", 7, "local"]]


def test_settled_promises_are_told_of_in_the_same_crank(vat: Puppet) -> None:
    tell(vat, "watch_settled")
    assert heard(vat) == [["fulfilled", 1, "before"], ["fulfilled", 1, "after"], ["rejected", "ValueError", "bad"]]
    assert registrations(vat) == []


def test_a_facet_may_watch(vat: Puppet) -> None:
    ear = vat.call("watch_with", "facet", Prom("p-9"))
    vat.restart()
    vat.notify("p-9", "sound")
    assert heard(vat, ear.vref) == "sound"


def test_a_private_method_may_be_named(vat: Puppet) -> None:
    tell(vat, "watch_named", Prom("p-9"), "_privately")
    vat.restart()
    vat.notify("p-9", 3)
    assert heard(vat) == [["privately", 3]]
    with pytest.raises(AttributeError):
        vat.call("_privately", 3, target=ORDER)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("on_broken", 1, "ValueError: broken"), ("_privately", "x", "Order._privately: value: expected int, came str")],
)
def test_a_failing_handler_is_reported(vat: Puppet, name: str, value: Any, text: str) -> None:
    tell(vat, "watch_named", Prom("p-9"), name)
    outcome = vat.notify("p-9", value)
    assert outcome.fault is None
    assert text in outcome.complaints[0][1]
    assert registrations(vat) == []


def test_a_missing_handler_for_a_rejection_is_reported(vat: Puppet) -> None:
    vat.call("watch_with", "good", Prom("p-9"))
    text = vat.notify("p-9", ValueError("unheard")).complaints[0][1]
    assert "OnlyGood has no on_rejected: nobody hears that a promise it watched was rejected with ValueError" in text
    bad = vat.call("watch_with", "bad", Prom("p-10"))
    assert vat.notify("p-10", 1).complaints == ()
    assert heard(vat, bad.vref) == 0


@pytest.mark.parametrize(
    ("what", "error", "text"),
    [
        ("heap", TypeError, "which a Root is not: await the promise, or use a DurableExo"),
        ("virtual", TypeError, "which a Passing is not"),
        ("no promise", TypeError, "watch takes a promise, not a int"),
        ("no handler", AttributeError, "has neither on_fulfilled nor on_rejected"),
        ("argument", NotPassableError, r"watch\[3\]\[0\]\[0\]: a Exo lives on the heap"),
    ],
)
def test_misuse_is_refused(vat: Puppet, what: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        vat.call("misuse", what, Prom("p-9"))
    assert registrations(vat) == []


# Durable promises


def make_kit(vat: Puppet) -> str:
    """Make a durable kit; the vpid of its promise."""
    vat.send("o+0", "make_kit")
    (keep,) = [call for call in vat.outcome.syscalls if isinstance(call, Keep)]
    assert keep.decision
    assert Forward("p-1", keep.promise) in vat.outcome.syscalls
    return keep.promise


def test_a_durable_promise_is_undecided_across_incarnations(vat: Puppet) -> None:
    vpid = make_kit(vat)
    assert vat.restart().syscalls == ()
    assert vat.restart().syscalls == ()
    vat.send("o+0", "get_promise")
    assert vat.outcome.syscalls == (Forward("p-1", vpid),)
    tell(vat, "settle_kit", 5)
    assert settlement(vat) == (vpid, 5)
    assert vat.call("read_kit") == 5
    vat.restart()
    assert vat.call("read_kit") == 5
    assert tell(vat, "settle_kit", 6) == ()


def test_the_resolver_is_a_reference(vat: Puppet) -> None:
    vpid = make_kit(vat)
    kit = vat.call("get_kit")
    assert kit.interface == "DurablePromiseKit"
    vat.restart()
    vat.send(kit.vref, "resolve", [1], result=None)
    assert settlement(vat) == (vpid, [1])
    with pytest.raises(TypeError, match="error: expected Exception, came str"):
        vat.call("reject", "text", target=kit.vref)


def test_a_rejection_is_remembered(vat: Puppet) -> None:
    make_kit(vat)
    tell(vat, "settle_kit", ValueError("no"))
    vat.restart()
    with pytest.raises(ValueError, match="no"):
        vat.call("read_kit")


def test_what_cannot_be_stored_is_told_now_and_lost_later(vat: Puppet) -> None:
    make_kit(vat)
    tell(vat, "settle_kit_with_heap")
    assert repr(settlement(vat)[1]) == "o+1"
    vat.restart()
    with pytest.raises(DisconnectedError, match="did not outlive its incarnation"):
        vat.call("read_kit")


def test_a_durable_promise_follows_across_incarnations(vat: Puppet) -> None:
    vpid = make_kit(vat)
    assert tell(vat, "follow_with_kit", Prom("p-9")) == (Subscribe("p-9"), Keep("p-9", False))
    vat.restart()
    vat.notify("p-9", "late")
    assert settlement(vat) == (vpid, "late")


def test_a_durable_promise_that_follows_itself_rejects(vat: Puppet) -> None:
    make_kit(vat)
    tell(vat, "settle_kit_with_itself")
    assert isinstance(settlement(vat)[1], TypeError)
    with pytest.raises(TypeError, match="rejected with an Exception, not with a str"):
        vat.call("reject_with_text")


def test_watcher_of_a_durable_promise_hears_of_it_after_both_survived(vat: Puppet) -> None:
    vpid = make_kit(vat)
    assert tell(vat, "watch_kit") == (Subscribe(vpid), Keep(vpid, False))
    vat.restart()
    tell(vat, "settle_kit", "done")
    assert heard(vat) == [["fulfilled", "done", "kit"]]
    assert registrations(vat) == []


def test_a_promise_whose_resolver_is_gone_rejects(vat: Puppet) -> None:
    vpid = make_kit(vat)
    tell(vat, "drop_kit")
    gc.collect()
    vat.deliver(BringOutYourDead())
    promise, error = settlement(vat)
    assert promise == vpid
    assert isinstance(error, DisconnectedError)


def test_a_promise_whose_resolver_was_lost_with_its_incarnation_rejects(vat: Puppet) -> None:
    vpid = make_kit(vat)
    tell(vat, "drop_kit")
    vat.restart()
    vat.deliver(BringOutYourDead())
    assert settlement(vat)[0] == vpid
