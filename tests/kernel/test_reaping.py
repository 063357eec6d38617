"""When a vat is asked to bring out its dead: by its deliveries and by the references it was given."""

from __future__ import annotations

import pytest

from ocap.kernel.gc import REFERENCES
from ocap.kernel.items import UpgradeVat
from ocap.kernel.options import VatOptions
from ocap.protocol.deliveries import BringOutYourDead, Message
from tests.kernel.puppet import World, send


def world_of(after: int | None, *, kernel: int = 1000) -> tuple[World, str]:
    """Two vats; the second is asked after so many deliveries. The first one's vref for its root."""
    world = World("ab", reap_after=kernel, options={"b": VatOptions(reap_after=after)})
    world.run()
    world.core.collector.started(world.row("b"), 0)  # what it got while it was launched is not counted
    return world, world.import_root("a", "b")


def taken(world: World) -> list[type]:
    return [type(delivery) for name, delivery in world.seen if name == "b"]


@pytest.mark.parametrize("after", [1, 2, 5, 17])
def test_after_so_many_deliveries_exactly(after: int) -> None:
    world, b = world_of(after)
    world.seen.clear()
    for _ in range(100):
        world.do("a", send(b))
    assert ([Message] * after + [BringOutYourDead]) * (100 // after) + [Message] * (100 % after) == taken(world)


def test_never_if_so_configured() -> None:
    world, b = world_of(0, kernel=2)
    for _ in range(20):
        world.do("a", send(b))
    assert BringOutYourDead not in taken(world)


def test_the_kernel_has_a_number_for_all_that_have_none() -> None:
    world, b = world_of(None, kernel=3)
    world.seen.clear()
    for _ in range(3):
        world.do("a", send(b))
    assert [Message, Message, Message, BringOutYourDead] == taken(world)


def test_many_references_in_few_messages_have_it_asked_sooner() -> None:
    world, b = world_of(4)
    world.seen.clear()
    world.do("a", send(b, slots=tuple(f"o+{n}" for n in range(1, 4 * REFERENCES + 1))))
    assert [Message, BringOutYourDead] == taken(world)


def test_a_crank_that_is_undone_does_not_count() -> None:
    world, b = world_of(2)
    world.on("b", lambda d: [send("o-999")] if isinstance(d, Message) and d.method == "crime" else [])
    world.seen.clear()
    world.do("a", send(b), send(b, "crime"), send(b))
    assert BringOutYourDead not in taken(world)


@pytest.mark.parametrize("how", ["restart", "upgrade"])
def test_the_first_message_of_an_incarnation_counts_in_full(how: str) -> None:
    world, b = world_of(4)
    if how == "restart":
        world.core.between_cranks(lambda: world.core.end(world.vats["b"], "for the test"))
    else:
        item = UpgradeVat(world.vats["b"], None, None, None, 0)
        world.core.between_cranks(lambda: world.core.state.queue.push(item))
        world.run()
    world.seen.clear()
    world.do("a", send(b, slots=tuple(f"o+{n}" for n in range(1, 4 * REFERENCES + 1))))
    assert [Message, BringOutYourDead] == taken(world)[how == "restart" :]
