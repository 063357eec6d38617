"""A supervisor: vats that are created again when they end, but not for ever.

After Erlang's: a child that dies more than `limit` times in `period` seconds is given up, since what
fails so often does not fail by chance. Its subcluster gives it the services `vat_admin` and `timer`.

A new vat is a clean slate, with a new root: ask for `get_root` after an answer was lost. A vat that only
faults needs no supervisor: the kernel gives it a new incarnation with its durable state.
"""

from __future__ import annotations

from typing import Any, Literal

from vats import (
    Baggage,
    DurableExo,
    DurablePromiseKit,
    E,
    Exo,
    IncarnationEndedError,
    MapStore,
    Promise,
    VatPowers,
    field,
    make_durable_promise_kit,
    watch,
)

Restart = Literal["permanent", "transient", "temporary"]
"""When to create a child again: whenever it ends; when it fails; never."""

LIMIT = 3
"""Restarts within the period, unless said otherwise."""

PERIOD = 60.0
"""Seconds, unless said otherwise."""


class Child(DurableExo):
    """One child, and the vat that it is at the moment.

    Attributes:
        options: for `create_vat`.
        root: settles to its root, or is rejected when there is to be none.
        state: starting, running, ended (and not to be created again), or failed (given up).
        restarts: when it was created again, within the period.
        error: why it died last.
    """

    vat_admin: Any
    timer: Any
    source: str
    options: dict[str, Any]
    restart: str
    limit: int
    period: float
    root: DurablePromiseKit[Any]
    admin: Any = None
    state: str = "starting"
    restarts: list[float] = field(factory=list)
    error: Any = None

    def _create(self) -> None:
        made = E(self.vat_admin).create_vat(self.source, **self.options)
        watch(made, self, fulfilled="_created", rejected="_died")

    def _created(self, made: tuple[Any, Any]) -> None:
        root, self.admin = made
        if self.state == "ended":  # it was stopped meanwhile
            E.send_only(self.admin).terminate("its supervisor was told to stop it")
            return
        self.state = "running"
        self.root.resolve(root)
        watch(E(self.admin).done(), self, fulfilled="_exited", rejected="_died")

    def _exited(self, value: Any) -> None:
        if self.restart == "permanent":
            self._again(None)
        else:
            self._end("ended", None)

    def _died(self, error: Any) -> None:
        if self.restart == "temporary":
            self._end("ended", error)
        else:
            self._again(error)

    def _again(self, error: Any) -> None:
        if self.state in ("ended", "failed"):
            return
        if self.state == "running":
            self.root = make_durable_promise_kit()
        self.state, self.admin, self.error = "starting", None, error
        watch(E(self.timer).now(), self, fulfilled="_restart", rejected="_no_time")

    def _no_time(self, error: Exception) -> None:
        if isinstance(error, IncarnationEndedError):
            self._again(self.error)
        else:
            self._end("failed", error)

    def _restart(self, now: float) -> None:
        if self.state != "starting":
            return
        recent = [time for time in self.restarts if now - time < self.period]
        if len(recent) >= self.limit:
            self._end("failed", self.error)
            return
        self.restarts = [*recent, now]
        self._create()

    def _end(self, state: str, error: Any) -> None:
        if self.state == "running":
            self.root = make_durable_promise_kit()
        self.state, self.admin, self.error = state, None, error
        self.root.reject(LookupError(f"it has {state}" + (f": {error}" if error else "")))


class Supervisor(Exo):
    """The root."""

    def __init__(self, baggage: Baggage) -> None:
        self._baggage = baggage
        self._children: MapStore[str, Child] = baggage.provide_map("children")

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        for name in ("vat_admin", "timer"):
            if name not in services:
                raise LookupError(f"a supervisor needs the service {name}")
            self._baggage[name] = services[name]

    def start(
        self,
        name: str,
        source: str,
        *,
        restart: Restart = "permanent",
        limit: int = LIMIT,
        period: float = PERIOD,
        **options: Any,
    ) -> Promise[Any]:
        """Create a child, and create it again when it ends; the promise of its root.

        Args:
            name: a new one, or that of a child that has ended or failed.
            source: a module, or the whole path of a file.
            restart: when to create it again.
            limit: how often, within the period; 0: never.
            period: seconds.
            options: of `create_vat`, such as `parameters`.

        Raises:
            ValueError: there is a child of that name; the caller's fault.
        """
        old = self._children.get(name)
        if old is not None and old.state in ("starting", "running"):
            raise ValueError(f"there is a child {name!r} already")
        vat_admin, timer, root = self._baggage["vat_admin"], self._baggage["timer"], make_durable_promise_kit()
        child = self._children[name] = Child(
            vat_admin=vat_admin,
            timer=timer,
            source=source,
            options={"name": name, **options},
            restart=restart,
            limit=limit,
            period=period,
            root=root,
        )
        child._create()
        return child.root.promise

    def get_root(self, name: str) -> Promise[Any]:
        """The promise of a child's root: of the next one, while it is being created.

        Raises:
            LookupError: there is no such child, or it has ended or failed and why.
        """
        return self._child(name).root.promise

    async def get_state(self, name: str) -> dict[str, Any]:
        """A child's `state`, how many `restarts` count against it, and the last `error`. Raises `LookupError`."""
        child = self._child(name)
        return {"state": child.state, "restarts": len(child.restarts), "error": child.error}

    async def get_names(self) -> list[str]:
        """All children, also those that have ended, in order."""
        return list(self._children)

    async def stop(self, name: str) -> None:
        """End a child, and do not create it again. Raises `LookupError`."""
        child = self._child(name)
        admin, is_over = child.admin, child.state in ("ended", "failed")
        if not is_over:
            child._end("ended", None)
        if admin is not None:
            E.send_only(admin).terminate("its supervisor was told to stop it")

    def _child(self, name: str) -> Child:
        child = self._children.get(name)
        if child is None:
            raise LookupError(f"there is no child {name!r}")
        return child


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Supervisor:
    return Supervisor(baggage)
