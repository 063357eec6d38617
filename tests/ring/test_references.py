"""What a host program holds: references with identity, released when dropped, and promises of answers."""

from __future__ import annotations

import gc
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import apsw
import pytest
import trio

from ocap import DisconnectedError, E, Kernel, NotPassableError, ObjectGoneError, Promise, VatTerminatedError
from ocap.protocol.refs import HOST
from ocap.ring import scheduler
from tests.ring.clusters import launch, peers


def host_names(path: Path) -> set[str]:
    """The krefs in the host's clist, as committed."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return {row[0] for row in db.execute("SELECT kref FROM clist WHERE vat = ?", (HOST,))}
    finally:
        db.close()


async def test_every_value_comes_back_equal_and_of_its_type() -> None:
    values = [
        None, True, 0, -1, 2**100, 1.5, -0.0, "ünï", b"\0", [1, [2]], (1, (2,)), {"k": {1: 2}}, {1}, frozenset({2}),
        Decimal("1.10"), datetime(2026, 1, 2, tzinfo=UTC), UUID(int=7),
    ]  # fmt: skip
    async with Kernel() as kernel:
        _, a, _ = await launch(kernel)
        back = await E(a).echo(*values)
    assert back == values
    assert list(map(type, back)) == list(map(type, values))


async def test_one_object_is_one_reference() -> None:
    async with Kernel() as kernel:
        subcluster, a, b = await launch(kernel)
        assert kernel.get_subcluster(subcluster.id).root is a
        assert await E(b).get("other") is a
        thing = await E(a).get_thing()
        assert await E(b).call(a, "get_thing") is thing
        assert (await E(a).echo([{"x": thing}]))[0][0]["x"] is thing
        assert await E(a).make_thing("new") is not thing


async def test_reference_goes_home_as_the_object() -> None:
    async with Kernel() as kernel:
        _, a, b = await launch(kernel)
        thing = await E(a).get_thing()
        assert await E(a).is_thing(thing)
        assert await E(b).call(a, "is_thing", thing)


async def test_dropped_reference_leaves_the_clist(path: Path) -> None:
    async with Kernel(path) as kernel:
        _, a, _ = await launch(kernel)
        thing = await E(a).make_thing("t")
        name = thing.kref
        await kernel.idle()
        assert name in host_names(path)
        del thing
        gc.collect()
        await E(a).increase()
        await kernel.idle()
        assert name not in host_names(path)


async def test_reference_dropped_with_nothing_else_to_do_is_released_at_the_next_occasion(path: Path) -> None:
    async with Kernel(path) as kernel:
        _, a, _ = await launch(kernel)
        name = (await E(a).make_thing("t")).kref
        gc.collect()
        kernel.collect_garbage()
        await kernel.idle()
        assert name not in host_names(path)


async def test_reference_that_comes_back_while_it_is_dropped_is_good(path: Path) -> None:
    async with Kernel(path) as kernel:
        _, a, _ = await launch(kernel)
        for _ in range(50):
            thing = await E(a).get_thing()
            promise = E(a).get_thing()
            del thing
            thing = await promise
            assert await E(thing).get_name() == "thing"
            del thing, promise
        await kernel.idle()
        assert kernel.verify() == []


async def test_reference_on_its_way_to_the_host_is_good_though_the_host_drops_it_meanwhile(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not yet told is told before the host's word is taken."""
    monkeypatch.setattr(scheduler, "GROUP_SECONDS", 60)
    async with Kernel(path, durability="none") as kernel:
        _, a, b = await launch(kernel)
        thing = await E(a).make_thing("t")
        await E(b).keep_on_heap(thing)
        E.send_only(a).bounce(10**6)  # so that nothing is committed before a whole group is
        for turns in range(30):
            promise = E(b).get_from_heap()
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            del thing
            E.send_only(b).increase()  # takes the news of the drop along
            thing = await promise
            assert await E(thing).get_name() == "t"
            del promise


async def test_host_holds_nothing_after_it_is_gone(path: Path) -> None:
    async with Kernel(path) as kernel:
        _, a, _ = await launch(kernel)
        thing = await E(a).make_thing("t")
        name = thing.kref
    async with Kernel(path) as kernel:
        await kernel.idle()
        assert name not in host_names(path)


async def test_durable_object_is_the_same_in_the_next_run(path: Path) -> None:
    async with Kernel(path) as kernel:
        _, a, _ = await launch(kernel)
        counter = await E(a).get_counter()
        assert await E(counter).increase() == 1
    async with Kernel(path) as kernel:
        (subcluster,) = kernel.get_subclusters()
        counter = await E(subcluster.root).get_counter()
        assert await E(counter).increase() == 2


async def test_reference_says_what_it_is_and_how_to_use_it() -> None:
    async with Kernel() as kernel:
        _, a, _ = await launch(kernel)
        thing = await E(a).get_thing()
        assert repr(thing) == f"<Ref Thing {thing.kref}>"
        with pytest.raises(AttributeError, match=r"use E\(ref\)\.get_name"):
            thing.get_name()


async def test_private_methods_are_not_sent() -> None:
    async with Kernel() as kernel:
        _, a, _ = await launch(kernel)
        with pytest.raises(AttributeError, match="_secret"):
            E(a)._secret()


async def test_object_on_the_heap_goes_with_its_incarnation(path: Path) -> None:
    async with Kernel(path) as kernel:
        _, a, b = await launch(kernel)
        await E(b).keep("other", a)
        thing = await E(a).get_thing()
        with pytest.raises(DisconnectedError, match="vat faulted"):
            await E(a).spin()
        with pytest.raises(ObjectGoneError, match="not durable"):
            await E(thing).get_name()
        assert await E(await E(a).get_thing()).get_name() == "thing"


# ---- promises -------------------------------------------------------------------------------------


async def test_promise_can_be_awaited_often_and_by_many() -> None:
    async with Kernel() as kernel:
        _, a, _ = await launch(kernel)
        promise = E(a).increase()
        answers = []

        async def wait() -> None:
            answers.append(await promise)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
        await wait()
        assert answers == [1] * 4
        assert repr(promise) == "<Promise fulfilled>"
        assert isinstance(promise, Promise)


async def test_message_to_a_promise_follows_it() -> None:
    async with Kernel() as kernel:
        _, a, b = await launch(kernel)
        assert await E(E(E(a).make_thing("x")).child("y")).get_name() == "x.y"
        assert await E(E(b).call(a, "make_thing", "far")).get_name() == "far"
        promise = E(a).later("k")
        name = E(promise).get_name()
        await E(a).settle("k", await E(b).get_thing())
        assert await name == "thing"


async def test_message_to_a_settled_promise_goes_to_what_it_settled_to() -> None:
    async with Kernel() as kernel:
        _, a, _ = await launch(kernel)
        thing = E(a).make_thing("t")
        await thing
        await kernel.idle()
        assert await E(thing).get_name() == "t"
        number, failed = E(a).increase(), E(a).fail("nope")
        await kernel.idle()
        with pytest.raises(TypeError, match="cannot send get_name to int data"):
            await E(number).get_name()
        with pytest.raises(LookupError, match="nope"):
            await E(failed).get_name()
        with pytest.raises(LookupError, match="nope"):
            await E(a).value_of(failed)


async def test_messages_arrive_in_the_order_they_were_sent() -> None:
    async with Kernel() as kernel:
        _, a, _ = await launch(kernel)
        answers = [E(a).increase() for _ in range(100)]
        assert [await answer for answer in answers] == list(range(1, 101))


async def test_send_only_asks_for_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    async with Kernel() as kernel:
        _, a, _ = await launch(kernel)
        assert E.send_only(a).increase() is None
        assert E.send_only(a).fail("nobody hears") is None
        assert await E(a).increase() == 2
        assert kernel.status()["unanswered"] == 0


async def test_promise_as_an_argument_settles_where_it_arrives() -> None:
    async with Kernel() as kernel:
        _, a, b = await launch(kernel)
        promise = E(a).later("k")
        answer = E(b).value_of(promise)
        await kernel.idle()
        assert repr(answer) == "<Promise pending>"
        await E(a).settle("k", 41)
        assert await answer == 41


async def test_settled_promise_as_an_argument_is_settled_where_it_arrives() -> None:
    async with Kernel() as kernel:
        _, a, b = await launch(kernel)
        promise = E(a).make_thing("t")
        await promise
        await kernel.idle()
        assert await E(await E(b).value_of(promise)).get_name() == "t"
        one, same = await E(b).echo(promise, [promise])
        assert await one is await same[0] is await promise


async def test_promise_among_the_results_settles_later() -> None:
    async with Kernel() as kernel:
        _, a, b = await launch(kernel)
        promise = E(a).later("k")
        ((inner,),) = await E(b).echo([promise])
        assert isinstance(inner, Promise)
        await E(a).settle("k", "late")
        assert await inner == "late"
        assert await promise == "late"


async def test_errors_keep_their_class_and_have_no_foreign_traceback() -> None:
    async with Kernel() as kernel:
        _, a, _ = await launch(kernel)
        promise = E(a).fail("nope")
        for _ in range(2):
            with pytest.raises(LookupError) as caught:
                await promise
            assert caught.value.args == ("nope",)
            files = [entry.path for entry in caught.traceback]
            assert not [file for file in files if "peer.py" in str(file)]


async def test_unpassable_argument_names_the_place_and_sends_nothing() -> None:
    async with Kernel() as kernel:
        _, a, _ = await launch(kernel)
        with pytest.raises(NotPassableError, match=r'args\[1\]\["rows"\]\[0\]'):
            E(a).echo(1, {"rows": [object()]})
        with pytest.raises(NotPassableError, match=r"kwargs\[\"text\"\]"):
            E(a).fail(text=object())
        assert kernel.status()["unanswered"] == 0


async def test_reference_of_another_kernel_is_refused() -> None:
    async with Kernel() as kernel, Kernel() as other:
        _, a, _ = await launch(kernel)
        _, foreign, _ = await launch(other, "abc")
        thing = await E(foreign).get_thing()
        with pytest.raises(Exception, match="another kernel"):
            await E(a).echo(thing)
        with pytest.raises(Exception, match="another kernel"):
            await E(a).echo(E(foreign).later("k"))
        assert await E(a).increase() == 1


async def test_object_of_a_terminated_vat_is_gone() -> None:
    async with Kernel() as kernel:
        subcluster, a, _ = await launch(kernel)
        thing = await E(a).get_thing()
        pending = E(a).later("k")
        await kernel.idle()
        await kernel.terminate_subcluster(subcluster.id)
        with pytest.raises(VatTerminatedError):
            await pending
        with pytest.raises(DisconnectedError):
            await E(thing).get_name()
        with pytest.raises(DisconnectedError):
            await E(a).increase()
        await kernel.idle()
        with pytest.raises(DisconnectedError):
            await E(a).increase()
        _, again, _ = await launch(kernel)
        (back,) = await E(again).echo(thing)  # it keeps its identity, and no more
        assert back is thing
        assert kernel.verify() == []


async def test_thousands_of_dropped_references_leave_nothing(path: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        kept = await launch(kernel)
        a = kept[1]
        await kernel.idle()
        before = kernel.census()
        for _ in range(10):
            things = [E(a).make_thing(str(n)) for n in range(100)]
            names = [E(thing).get_name() for thing in things]
            assert [await name for name in names] == [str(n) for n in range(100)]
            del things, names
        gc.collect()
        kernel.collect_garbage()
        await kernel.idle()
        kernel.collect_garbage()
        await kernel.idle()
        assert kernel.census() | {"vatstore": 0} == before | {"vatstore": 0}


async def test_subcluster_result_may_hold_references(path: Path) -> None:
    async with Kernel(path) as kernel:
        result: Any = (await kernel.launch_subcluster(peers("ab", answer={"n": [1, 2]}))).result
        assert result == {"n": [1, 2]}
