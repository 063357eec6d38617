"""Publish and subscribe: topics whose subscribers survive restart, and go when they are gone."""

from __future__ import annotations

from typing import Any, Protocol

from vats import (
    Baggage,
    DurableExo,
    E,
    Exo,
    ObjectGoneError,
    Ref,
    SetStore,
    VatPowers,
    VatTerminatedError,
    field,
    watch,
)


class Subscriber(Protocol):
    """Who is told: any object with this method."""

    async def receive(self, message: Any) -> Any:
        """A message was published. What is answered or raised is of no interest."""


class Topic(DurableExo):
    """The power to listen. Each subscriber gets the messages in the order in which they were published."""

    name: str
    subscribers: SetStore[Any] = field(factory=lambda: SetStore(durable=True))

    async def get_name(self) -> str:
        return self.name

    async def subscribe(self, subscriber: Ref[Subscriber]) -> None:
        """Have the subscriber told from now on; one that is told already is told once."""
        self.subscribers.add(subscriber)

    async def unsubscribe(self, subscriber: Ref[Subscriber]) -> None:
        """Stop telling it; of one that is not told, nothing."""
        self.subscribers.discard(subscriber)

    def _publish(self, message: Any) -> int:
        for subscriber in self.subscribers:
            watch(E(subscriber).receive(message), self, subscriber, rejected="_failed")
        return len(self.subscribers)

    def _failed(self, error: Exception, subscriber: Any) -> None:
        if isinstance(error, VatTerminatedError | ObjectGoneError):  # it will never listen again
            self.subscribers.discard(subscriber)


class Publisher(DurableExo):
    """The power to publish in a topic."""

    topic: Topic

    async def get_topic(self) -> Ref[Topic]:
        return self.topic

    async def publish(self, message: Any) -> int:
        """Send a message to all subscribers; how many there are."""
        return self.topic._publish(message)


class Topics(Exo):
    """The root."""

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        """Nothing to do."""

    async def make_topic(self, name: str) -> Ref[Publisher]:
        """A new topic, whatever it is called; its publisher gives the topic to who is to listen."""
        return Publisher(topic=Topic(name=name))


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Topics:
    return Topics()
