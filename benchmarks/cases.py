"""The cases: what is measured, and how each makes sure that the work was really done.

A repetition is one call from the host; all else happens between vats. Each case checks its result,
which differs from repetition to repetition: a method that fails at once, a message that is lost or
a row that is written with the value it had would otherwise look like speed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from benchmarks.vats.answerer import LINKS
from ocap import ClusterConfig, E, Kernel, Subcluster, VatConfig
from ocap.protocol.marshal import encode

Store = Literal["memory", "durable"]
STORES: tuple[Store, ...] = ("memory", "durable")
"""In memory, or in a file that survives the loss of power, many cranks to one commit."""

_ASKER, _ANSWERER, _SENDER, _CROWD, _RECRUIT = (
    f"benchmarks.vats.{name}" for name in ("asker", "answerer", "sender", "crowd", "recruit")
)


class WrongResultError(RuntimeError):
    """The work was not done: its time means nothing."""


def _check(expected: Any, actual: Any) -> None:
    if actual != expected:
        raise WrongResultError(f"expected {expected!r:.200}, got {actual!r:.200}")


class Case(ABC):
    """One thing to measure; its docstring says what, and why the number may be believed.

    Attributes:
        name: as in `--only`.
        unit: what is counted.
        size: units of one repetition, about a second of work; a multiple of `step`.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    size: ClassVar[int]
    step: ClassVar[int] = 1

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    @abstractmethod
    async def prepare(self) -> None:
        """What comes before all repetitions."""

    @abstractmethod
    async def work(self, size: int) -> None:
        """Do and check `size` units. Its time is measured. Raises `WrongResultError`."""

    async def clear(self) -> None:  # noqa: B027 - most have nothing to do
        """What follows a repetition, outside its time. Raises `WrongResultError`."""


class _Pair(Case):
    """Two vats; the asker drives the other."""

    async def prepare(self) -> None:
        config = ClusterConfig("asker", {"asker": VatConfig(_ASKER), "peer": VatConfig(_ANSWERER)})
        self.root = (await self.kernel.launch_subcluster(config)).root
        self.done = 0


class PingPong(_Pair):
    """Round trips between two vats, one after the other: two cranks each, a delivery and a notify.

    Every message carries the number that the last one brought back, so none can be skipped.
    """

    name = "ping-pong"
    unit = "round trips"
    size = 4000

    async def work(self, size: int) -> None:
        _check(self.done + size, await E(self.root).ping(self.done, size))
        self.done += size


class Guarded(_Pair):
    """Round trips as in a ping-pong, with an int, a str and a list of ints, and an int back; guards check all.

    What they cost is the difference to `unguarded`.
    """

    name = "guarded"
    unit = "round trips"
    size = 4000
    checked: ClassVar[bool] = True

    async def work(self, size: int) -> None:
        _check(self.done + size, await E(self.root).weigh(self.done, size, self.checked))
        self.done += size


class Unguarded(Guarded):
    """The same to an object whose class has `guard=False`."""

    name = "unguarded"
    checked: ClassVar[bool] = False


class Deposit(_Pair):
    """Round trips that each change a field of a durable object.

    A ping-pong leaves nothing to write but what is under way at the commit; this is the store's own
    share. Each write has another value: SQLite writes no page for an equal one.
    """

    name = "deposit"
    unit = "round trips"
    size = 3000

    async def work(self, size: int) -> None:
        self.done += size * 3
        _check(self.done, await E(self.root).deposit(3, size))


class Chain(_Pair):
    """Chains of ten messages, each sent to the promise of the one before, all before the first answer.

    The last link answers with its place in the chain and a number that only its message had.
    """

    name = "chain"
    unit = "chains"
    size = 500

    async def work(self, size: int) -> None:
        numbers = range(self.done, self.done + size)
        _check(sum(numbers) * LINKS + size * (LINKS - 1), await E(self.root).follow(self.done, size))
        self.done += size


class Payload(_Pair):
    """Round trips with 10 KB each way, a list of 100 dicts, copied at both walls.

    The same table goes round and round, and the peer counts up in one row each time: what comes
    back in the end must be what went in but for the counts.
    """

    name = "payload"
    unit = "round trips"
    size = 300

    async def prepare(self) -> None:
        await super().prepare()
        self.rows = [
            {
                "serial": 0,
                "name": f"the account with the number {i}",
                "balance": i * 1.25,
                "tags": ["open", f"branch {i % 7}", "checked"],
                "ok": True,
            }
            for i in range(100)
        ]
        size = len(encode(self.rows)[0])
        assert 8_000 < size < 12_000, size

    async def work(self, size: int) -> None:
        answer = await E(self.root).exchange(self.rows, size)
        for number in range(size):
            self.rows[number % 100]["serial"] += 1  # type: ignore[operator]
        _check(self.rows, answer)


class _FanIn(Case):
    """Four senders, one sink."""

    step = 4

    async def prepare(self) -> None:
        senders = {f"sender{i}": VatConfig(_SENDER) for i in range(4)}
        config = ClusterConfig("crowd", {"crowd": VatConfig(_CROWD), "sink": VatConfig(_ANSWERER), **senders})
        self.root = (await self.kernel.launch_subcluster(config)).root
        self.done = 0


class FanInOneWay(_FanIn):
    """Messages of four vats to one, without answers: one crank each.

    The sink's own count and sum of all numbers are the result. After a burst of 100 a sender waits
    once, or its messages would all be made in one crank.
    """

    name = "fan-in-one-way"
    unit = "messages"
    size = 10_000

    async def work(self, size: int) -> None:
        start, self.done = self.done, self.done + size
        _check((self.done, sum(range(self.done))), await E(self.root).tell(start, size // 4))


class FanInAnswered(_FanIn):
    """Messages of four vats to one, each answered: two cranks each. The sum of the answers is the result."""

    name = "fan-in-answered"
    unit = "messages"
    size = 4000

    async def work(self, size: int) -> None:
        start, self.done = self.done, self.done + size
        _check(-sum(range(start, self.done)), await E(self.root).ask(start, size // 4))


class _Creation(Case):
    """Launches subclusters; afterwards every vat must answer with its number, and all are terminated."""

    async def prepare(self) -> None:
        self.clusters: list[Subcluster] = []
        self.made = 0

    async def launch(self, count: int) -> None:
        vats = {f"recruit{i}": VatConfig(_RECRUIT, {"number": self.made + i}) for i in range(count)}
        self.made += count
        self.clusters.append(await self.kernel.launch_subcluster(ClusterConfig("recruit0", vats)))

    async def clear(self) -> None:
        found: list[int] = []
        for cluster in self.clusters:
            found += await E(cluster.root).roll_call()
            await self.kernel.terminate_subcluster(cluster.id)
        _check(list(range(self.made - len(found), self.made)), found)
        self.clusters.clear()
        await self.kernel.idle()


class CreationSingle(_Creation):
    """Subclusters of one vat, one after the other, each launched and bootstrapped.

    The host waits for each, so in the durable form each is a commit or more of its own.
    """

    name = "creation-single"
    unit = "vats"
    size = 100

    async def work(self, size: int) -> None:
        for _ in range(size):
            await self.launch(1)


class CreationMany(_Creation):
    """One subcluster of many vats."""

    name = "creation-many"
    unit = "vats"
    size = 300

    async def work(self, size: int) -> None:
        await self.launch(size)


CASES: dict[str, type[Case]] = {
    case.name: case
    for case in (
        PingPong, Guarded, Unguarded, Deposit, FanInOneWay, FanInAnswered, CreationSingle, CreationMany, Chain, Payload,
    )
}  # fmt: skip
