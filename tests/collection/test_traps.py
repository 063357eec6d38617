"""The traps of CPython that would keep a reference alive, or let it seem dead. Each is handled, or documented here."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import pytest

from ocap.protocol import deliveries
from ocap.protocol.refs import VatId
from tests.collection.live import Live
from vats import (
    Baggage,
    DurableExo,
    DurableExoKit,
    E,
    Exo,
    ExoKit,
    Facet,
    VirtualExo,
    VirtualExoKit,
    facet,
    make_promise_kit,
)

ALIVE: weakref.WeakSet[Any] = weakref.WeakSet()


class Thing(Exo):
    def __init__(self) -> None:
        ALIVE.add(self)

    async def ping(self) -> str:
        return "pong"


@lru_cache
def measured(thing: Any) -> str:
    return type(thing).__name__


CURRENT: ContextVar[Any] = ContextVar("CURRENT", default=None)


class Root(Exo):
    def __init__(self) -> None:
        self.peer: Any = None
        self.kit: Any = None
        self.error: Any = None
        self.ring: Any = None
        self.thing: Any = None

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        self.peer = vats["b"]

    async def make(self) -> Any:
        return Thing()

    async def idle(self) -> None:
        """Any delivery."""

    # exceptions

    async def raise_it(self) -> None:
        thing = await E(self.peer).make()
        raise ValueError(repr(thing))

    async def raise_a_chain(self) -> None:
        thing = await E(self.peer).make()
        try:
            try:
                raise KeyError(repr(thing))
            except KeyError as error:
                raise ValueError("second") from error
        except ValueError:
            raise RuntimeError("third")  # noqa: B904 - the context is the point

    async def raise_a_group(self) -> None:
        thing = await E(self.peer).make()
        errors: list[Exception] = []
        for number in range(3):
            try:
                raise ValueError(f"{number} {thing!r}")
            except ValueError as error:
                errors.append(error)
        raise ExceptionGroup("several", errors)

    async def handle(self) -> None:
        """Raised here and handled here: nothing is left when the behaviour is over."""
        thing = await E(self.peer).make()
        try:
            raise ValueError(repr(thing))
        except ValueError as error:
            caught = error
        assert caught.__traceback__ is not None

    async def handle_rejection(self) -> None:
        thing = await E(self.peer).make()
        try:
            await E(self.peer).no_such_method(thing)
        except AttributeError:
            pass
        else:
            raise AssertionError

    async def keep_rejected(self) -> None:
        """A rejected promise is kept: its error must not keep what the behaviour that raised it had."""
        self.error = E(self).raise_a_chain()
        E.send_only(self).idle()

    async def reject_unheard(self) -> None:
        thing = await E(self.peer).make()
        kit = make_promise_kit()
        try:
            raise ValueError(repr(thing))
        except ValueError as error:
            kit.reject(error)

    async def reject_and_keep(self) -> None:
        thing = await E(self.peer).make()
        kit = make_promise_kit()
        self.error = kit.promise
        try:
            raise ValueError(repr(thing))
        except ValueError as error:
            kit.reject(error)

    async def await_kept_rejection(self) -> None:
        """Awaiting a rejection again and again, with a presence among the locals."""
        kit = make_promise_kit()
        self.error = kit.promise
        kit.reject(ValueError("again"))
        for _ in range(3):
            thing = await E(self.peer).make()
            try:
                await self.error
            except ValueError:
                assert thing is not None

    # suspended behaviours

    async def wait(self) -> None:
        thing = await E(self.peer).make()
        self.kit = make_promise_kit()
        await self.kit.promise
        assert thing is not None

    async def start_waiting(self) -> None:
        E.send_only(self).wait()

    async def wake(self) -> None:
        self.kit.resolve(None)
        self.kit = None

    # contexts and caches

    async def set_context(self) -> None:
        CURRENT.set(await E(self.peer).make())

    async def cache(self) -> str:
        return measured(await E(self.peer).make())

    # reference cycles

    async def tie_a_ring(self) -> None:
        ring: list[Any] = [await E(self.peer).make()]
        ring.append(ring)

    async def hold_in_closure(self) -> None:
        thing = await E(self.peer).make()

        def again() -> Any:
            return again, thing

        again()

    # coming back

    async def take(self) -> None:
        self.thing = await E(self.peer).lend()

    async def lose(self) -> None:
        self.thing = None

    async def lend(self) -> Any:
        self.kit = self.kit or Thing()
        return self.kit

    async def use(self) -> str:
        return str(await E(self.thing).ping())


@pytest.fixture
def live() -> Iterator[Live]:
    def build(_powers: Any, _parameters: Any, _baggage: Baggage) -> Root:
        return Root()

    ALIVE.clear()
    measured.cache_clear()
    world = Live({"a": build, "b": build})
    yield world
    measured.cache_clear()
    world.close()


def ask(live: Live, method: str) -> None:
    try:
        live.ask("a", method)
    except (ValueError, RuntimeError, ExceptionGroup):
        assert method.startswith("raise")


def is_kept(live: Live) -> bool:
    """Whether the last object that `b` made for `a` still is, after everything due was done."""
    live.collect()
    assert len(ALIVE) == live.objects()
    return bool(ALIVE)


@pytest.mark.parametrize(
    "method",
    [
        "raise_it",
        "raise_a_chain",
        "raise_a_group",
        "handle",
        "handle_rejection",
        "keep_rejected",
        "reject_unheard",
        "reject_and_keep",
        "await_kept_rejection",
        "tie_a_ring",
        "hold_in_closure",
        "set_context",
    ],
)
def test_nothing_is_kept_by(live: Live, method: str) -> None:
    ask(live, method)
    assert not is_kept(live)


def test_reference_counting_alone_frees_what_an_error_had(live: Live) -> None:
    """Not even until Python's collector runs: the machinery makes no cycles of its own."""
    gc.disable()
    try:
        for method in ("raise_it", "raise_a_chain", "handle_rejection", "keep_rejected", "reject_unheard"):
            ask(live, method)
            vat = live.vats[live.id_of("a")]
            presences = [vref for vref, _ in vat.slots.alive() if vref.startswith("o-")]
            assert len(presences) == 1, f"{method}: only the peer's root"
    finally:
        gc.enable()


def test_a_forgotten_await_keeps_what_it_has_and_can_be_seen(live: Live) -> None:
    """Documented: a suspended behaviour is alive, with all its variables."""
    ask(live, "start_waiting")
    assert is_kept(live)
    assert live.vats[live.id_of("a")].suspended == 1
    ask(live, "wake")
    assert not is_kept(live)


def test_the_end_of_an_incarnation_closes_its_behaviours(live: Live) -> None:
    ask(live, "start_waiting")
    live.stop("a")
    live.ask("a", "idle")
    assert not is_kept(live)


def test_a_cache_keeps_what_it_was_asked_about(live: Live) -> None:
    """Documented: a module's `lru_cache` lives as long as the process, and so do its keys."""
    live.ask("a", "cache")
    assert is_kept(live)
    measured.cache_clear()
    assert not is_kept(live)


@pytest.mark.parametrize("base", [Exo, DurableExo, VirtualExo])
def test_a_finalizer_is_refused(base: type) -> None:
    with pytest.raises(TypeError, match="__del__"):
        type("Sly", (base,), {"__del__": lambda _: None})


def test_a_finalizer_of_a_facet_or_kit_is_refused() -> None:
    class Front(Facet[Any]):
        pass

    with pytest.raises(TypeError, match="__del__"):
        type("Sly", (Facet,), {"__del__": lambda _: None})
    for base in (ExoKit, DurableExoKit, VirtualExoKit):
        with pytest.raises(TypeError, match="__del__"):
            type("Sly", (base,), {"front": facet(Front), "__del__": lambda _: None})


def test_names_are_not_used_again(live: Live) -> None:
    """Python gives the address of what died to the next object; a vref is never given again."""
    vrefs = set()
    for _ in range(50):
        kref = live.ask("b", "make")
        row = live.core.state.clist(live.id_of("b")).by_kref(kref)
        assert row is not None
        assert row.vref not in vrefs
        vrefs.add(row.vref)
        live.collect()
        assert live.objects() == 0


def test_a_class_with_slots_can_be_referred_to_weakly() -> None:
    class Slotted(Exo):
        __slots__ = ("label",)

        def __init__(self, label: str) -> None:
            self.label = label

    class Twice(Slotted):
        __slots__ = ("__dict__", "more")

    for cls in (Slotted, Twice):
        thing = cls("x")
        seen = weakref.ref(thing)
        assert seen() is thing
        del thing
        assert seen() is None


def test_equality_of_exos_is_identity() -> None:
    """A class may be made with attrs or dataclasses, but not so that two exos are one key."""
    with pytest.raises(TypeError, match="__eq__"):
        type("Equal", (Exo,), {"__eq__": lambda *_: True})
    one, other = Thing(), Thing()
    assert len({one, other}) == 2


@pytest.mark.parametrize("when", ["unreachable", "collected", "finalized"])
def test_what_comes_back_is_not_given_up_by_a_late_callback(live: Live, when: str) -> None:
    """The states of a presence between its last use and the report of it; then it is introduced again."""
    live.ask("a", "take")
    live.let_go()
    vat = live.vats[live.id_of("a")]
    (vref,) = [vref for vref, _ in vat.slots.alive() if vref.startswith("o-")][1:]
    held = vat.slots.find(vref) if when == "unreachable" else None
    live.ask("a", "lose")  # the callback has run, and is not attended to
    if when == "finalized":
        vat.slots.suspect(vat.slots.take_suspects(10))
    live.ask("a", "take")
    assert vat.slots.find(vref) is not None
    assert held is None or vat.slots.find(vref) is held
    del held
    live.collect()
    assert live.objects() == 1
    assert live.ask("a", "use") == "pong"
    live.ask("a", "lose")
    live.collect()
    assert live.objects() == 0


def test_nothing_but_reaping_reports_a_death(live: Live) -> None:
    """When Python collects must not show: no syscall of any other delivery depends on it."""
    live.ask("a", "take")
    live.ask("a", "lose")
    live.let_go()
    live.run()
    vat = live.vats[live.id_of("a")]
    gc.collect()
    root = live.core.state.vats[live.id_of("a")].root
    assert root is not None
    live.ask("a", "idle")
    row = [it for it in live.backend.clist_rows(live.id_of("a"), "imports", -1) if it]
    assert len(row) == 2, "the peer's root, and what was lost"
    outcome = vat.deliver(deliveries.BringOutYourDead(()))
    assert [type(call).__name__ for call in outcome.syscalls] == ["DropImports", "RetireImports"]
    vat.close()
    live.core.between_cranks(lambda: live.core.end(VatId(live.id_of("a")), "the test used its vat up"))
