"""What can be asked of a running kernel over its socket: each public method of `Commands` is a command.

Arguments and results are JSON. Subclusters are named by id (`s1`) or name, vats by id (`v1`) or name, objects
by kref (`ko7`); a vat or subcluster stands for its root where an object is asked for.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import trio

from ocap.config import NO_SUBCLUSTERS, ClusterConfig, Described, check_tables, parse_toml, services_of
from ocap.daemon.beside import Beside
from ocap.daemon.naming import Names, NoSuchObjectError
from ocap.daemon.protocol import VERSION, Encoded
from ocap.daemon.tap import Tap
from ocap.host.inventory import Launch, Subcluster, Vat
from ocap.host.kernel import Kernel
from ocap.legible import as_text, to_json
from ocap.log.selection import Selection
from ocap.protocol.errors import (
    ConfigError,
    DeadLetterNotFoundError,
    OcapError,
)
from ocap.protocol.refs import VatId, is_well_formed_kref
from ocap.ring.tally import SECONDS
from ocap.ring.watchdog import Tell
from ocap.services.standard import WITH_OPTIONS

GATHER = 0.05
"""Seconds in which news for a follower is gathered: one line for many costs the kernel a tenth of many."""

MAX_CROWD = 8_388_608
"""Characters of such a line; what is beyond comes with the next one."""

_START_ANEW = "`ocap stop`, then `ocap start` with a file that has this table"
"""What to do for what cannot come later."""

LARGE = 8_192
"""Characters of the arguments of one dead letter in the list of all, beyond which only their size is told: a line has room for all."""

Json = Any


class BadCommandError(OcapError, TypeError):
    """There is no such command, or it has no such argument. The asker's fault."""


class SendFailedError(OcapError, RuntimeError):
    """The message was answered with an error, which this one quotes. The vat's doing."""


class Commands:
    """The commands over one kernel.

    Args:
        tap: shows its traffic.
        about: what `status` tells beside what the kernel knows.
        beside: what runs beside it, such as a panel.
        options: of services, that the kernel was started with.
        stop: has the daemon stop; None where whoever runs the kernel decides that alone.
    """

    def __init__(
        self,
        kernel: Kernel,
        tap: Tap,
        about: Mapping[str, Json],
        beside: Beside | None = None,
        stop: Callable[[], None] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._kernel = kernel
        self._tap = tap
        self._about = dict(about)
        self._beside = beside or Beside()
        self._stop = stop
        self._options = options or {}
        self._names = Names(kernel)

    @property
    def database(self) -> str:
        """The file that the kernel has open."""
        return str(self._about["database"])

    def watch(self, tell: Tell) -> None:
        """Have `tell` told what the kernel is long in, as `Kernel.watch` does."""
        self._kernel.watch(tell)

    async def call(self, name: str, arguments: Mapping[str, Json]) -> Json:
        """Run a command.

        Returns:
            Its result; for `follow` an asynchronous generator of items.

        Raises:
            BadCommandError: there is none, or an argument is wrong.
            OcapError: it could not be done.
        """
        return await bound(self, name, arguments)

    # ---- the daemon -----------------------------------------------------------------------------

    async def hello(self) -> Json:
        """The version of what can be asked here, and of what is answered."""
        return {"version": VERSION}

    async def status(self) -> Json:
        """How the kernel is, and its counters."""
        kernel = self._kernel
        held = [{"id": it.id, "name": it.name, "reason": it.reason} for it in kernel.get_vats("suspended")]
        known = {**kernel.status(), **kernel.stats(), **kernel.counts()}
        return {**self._about, **self._beside.addresses, **known, "suspended": held}

    async def stats(self) -> Json:
        """Counters alone, which cost nothing to tell; how long cranks took by class: up to so many seconds, how many."""
        took = {"bounds": SECONDS, "counts": self._kernel.latencies().counts}
        return {**self._kernel.status(), **self._kernel.stats(), "crank_seconds": took}

    async def spent(self, *, vats: list[Any]) -> Json:
        """How many seconds the cranks of each of these vats took, together, and since when that is counted: this begins it."""
        tally = self._kernel.tally()
        return {
            "since": tally.since,
            "seconds": {id_: tally.seconds.get(VatId(id_), 0.0) for id_ in _texts(vats, "vats")},
        }

    async def panel_link(self) -> Json:
        """A link that lets one browser into the panel that runs beside the kernel, once; null if none does."""
        return {"link": self._beside.link}

    async def stop(self) -> Json:
        """Finish the crank under way, commit, and end."""
        if self._stop is None:
            raise BadCommandError("this kernel belongs to a program that stops it itself")
        self._stop()
        return None

    async def follow(
        self, *, vats: list[Any] | None = None, methods: list[Any] | None = None, refs: list[Any] | None = None
    ) -> Json:
        """The message log as it happens, by vat, method and reference.

        Items are lists of `{"entry": ENTRY, "by": [ID, NAME]}` and `{"passed_over": CRANKS}`; `by` is the vat that
        ran in the crank which caused it, or null.
        """
        chosen = [
            frozenset(_texts(names, what)) for names, what in ((vats, "vats"), (methods, "methods"), (refs, "refs"))
        ]
        return self._follow(Selection(vats=chosen[0], methods=chosen[1], refs=chosen[2]))

    async def _follow(self, selection: Selection) -> AsyncGenerator[Encoded, None]:
        with self._tap.follow(selection) as news:
            async for first in news:
                await trio.sleep(GATHER)
                crowd, size = [first], len(first)
                for _ in range(news.statistics().current_buffer_used):
                    crowd.append(news.receive_nowait())
                    size += len(crowd[-1])
                    if size > MAX_CROWD:
                        break
                yield Encoded(f"[{', '.join(crowd)}]")

    # ---- subclusters ----------------------------------------------------------------------------

    async def subclusters(self) -> Json:
        """Every subcluster, with its vats; those whose bootstrap has not answered yet are `launching`."""
        kernel = self._kernel
        vats: dict[str | None, Json] = {}
        for vat in kernel.get_vats():
            vats.setdefault(vat.subcluster_id, []).append(_vat(vat))
        found = kernel.get_subclusters()
        told = [{**_subcluster(it), "state": "running", "vats": vats.get(it.id, [])} for it in found]
        return told + [
            {**_subcluster(it), "state": "launching", "vats": vats.get(it.id, [])} for it in kernel.get_launches()
        ]

    async def show(self, *, what: str) -> Json:
        """One subcluster or vat."""
        match self._names.find(what):
            case Subcluster() as found:
                vats = [_vat(vat) for vat in found.vats.values()]
                details = {"config": to_json(found.config), "result": to_json(found.result), "root": found.root.kref}
                return {"kind": "subcluster", **_subcluster(found), **details, "vats": vats}
            case Vat() as vat:
                return {"kind": "vat", **_vat(vat), "root": self._kernel.root(vat.id).kref}

    async def check(self, *, text: str, folder: str) -> Json:
        """Whether subclusters described in TOML could be launched; a line about each."""
        configs = self._new_configs(text, folder)
        return [
            {"name": name, "bootstrap": it.bootstrap, "vats": list(it.vats), "services": list(it.services)}
            for name, it in configs.items()
        ]

    async def launch(self, *, text: str, folder: str) -> Json:
        """Launch the subclusters that TOML describes, one after the other."""
        configs = self._new_configs(text, folder)
        launched = []
        for config in configs.values():
            found = await self._kernel.launch_subcluster(config)
            launched.append(
                {
                    **_subcluster(found),
                    "root": self._names.keep(found.root).kref,
                    "result": self._names.to_answer(found.result),
                }
            )
        return launched

    async def update(self, *, subcluster: str, text: str, folder: str, dry: bool = False) -> Json:
        """Give a subcluster a new config, the only one that the TOML describes; or say what that would do."""
        found = self._names.subcluster(subcluster)
        configs = self._configs(self._described(text, folder), is_system=found.is_system)
        if list(configs) != [found.name]:
            kind = _kind(found.is_system)
            raise ConfigError(kind, f"has to be one, [{kind}.{found.name}]")
        done = await self._kernel.update_subcluster(found.id, configs[found.name], dry_run=dry)
        added, upgraded = (
            {name: None if error is None else str(error) for name, error in part.items()}
            for part in (done.added, done.upgraded)
        )
        return {
            "added": added,
            "upgraded": upgraded,
            "adjusted": dict(done.adjusted),
            "removed": done.removed,
            "at_reload": done.at_reload,
        }

    async def reload(self, *, subcluster: str) -> Json:
        """Launch a subcluster anew; the old one ends when the new one has answered."""
        found = await self._kernel.reload_subcluster(self._names.subcluster(subcluster).id)
        return {
            **_subcluster(found),
            "root": self._names.keep(found.root).kref,
            "result": self._names.to_answer(found.result),
        }

    def _new_configs(self, text: str, folder: str) -> dict[str, ClusterConfig]:
        described = self._described(text, folder)
        if not described.subclusters:
            raise ConfigError(*NO_SUBCLUSTERS)
        for name, config in self._configs(described, is_system=True).items():
            found = [it.config for it in self._names.subclusters(name) if it.is_system]
            if not found:
                raise ConfigError(f"system.{name}", f"is launched when the kernel starts: {_START_ANEW}")
            if config not in found:
                raise ConfigError(f"system.{name}", "there is another system subcluster of this name; update it")
        for name in described.subclusters:
            if self._names.subclusters(name):
                raise ConfigError(f"subclusters.{name}", "there is a subcluster of this name; update or reload it")
        return self._configs(described, is_system=False)

    def _described(self, text: str, folder: str) -> Described:
        described = parse_toml(text, folder, "")
        for name, options in described.services.items():
            if options != self._options.get(name):
                how = "with others" if name in self._options else "without"
                raise ConfigError(f"services.{name}", f"the kernel was started {how}: {_START_ANEW}")
        return described

    def _configs(self, described: Described, *, is_system: bool) -> dict[str, ClusterConfig]:
        """Its subclusters, or its system subclusters, checked."""
        kind, names = _kind(is_system), self._kernel.service_names(is_system=is_system)
        configs = described.system if is_system else described.subclusters
        for name, config in configs.items():
            for service in sorted(services_of(config) & WITH_OPTIONS - set(names)):
                text = f"{service} needs [services.{service}], which the kernel was started without: {_START_ANEW}"
                raise ConfigError(f"{kind}.{name}", text)
        return check_tables(kind, configs, names)

    # ---- subclusters and vats -------------------------------------------------------------------

    async def restart(self, *, what: str) -> Json:
        """Have the next incarnation built when it is next needed; durable state stays."""
        match self._names.find(what):
            case Subcluster(id=id_):
                await self._kernel.restart_subcluster(id_)
            case Vat(id=id_):
                await self._kernel.restart_vat(id_)
        return {"id": id_}

    async def terminate(self, *, what: str, reason: str = "the operator terminated it") -> Json:
        """End it for good; a launch is given up."""
        match self._names.launch(what) or self._names.find(what):
            case Subcluster(id=id_) | Launch(id=id_):
                await self._kernel.terminate_subcluster(id_)
            case Vat(id=id_):
                await self._kernel.terminate_vat(id_, reason)
        return {"id": id_}

    async def suspend(self, *, what: str) -> Json:
        """Hold messages back."""
        return await self._each(what, self._kernel.suspend_vat)

    def suspend_nowait(self, what: str) -> Json:
        """The same, of a kernel that is not entered."""
        vats = self._names.vats(what)
        for vat in vats:
            self._kernel.suspend_vat_nowait(vat.id)
        return {"vats": [_vat(self._kernel.get_vat(vat.id)) for vat in vats]}

    async def resume(self, *, what: str) -> Json:
        """Let through what was held back."""
        return await self._each(what, self._kernel.resume_vat)

    async def ping(self, *, what: str) -> Json:
        """Whether it answers."""
        return await self._each(what, self._kernel.ping_vat)

    async def _each(self, what: str, act: Callable[[str], Awaitable[None]]) -> Json:
        vats = self._names.vats(what)
        for vat in vats:
            await act(vat.id)
        return {"vats": [_vat(self._kernel.get_vat(vat.id)) for vat in vats]}

    async def upgrade(self, *, vat: str, source: str | None = None, parameters: dict[str, Any] | None = None) -> Json:
        """Replace a vat's code, its parameters, or both."""
        found = self._names.vat(vat)
        if parameters is None:
            return _vat(await self._kernel.upgrade_vat(found.id, source=source))
        return _vat(
            await self._kernel.upgrade_vat(found.id, source=source, parameters=self._names.to_argument(parameters))
        )

    # ---- objects --------------------------------------------------------------------------------

    async def send(self, *, target: str, method: str, args: list[Any], kwargs: dict[str, Any] | None = None) -> Json:
        """Send a message and wait for its answer.

        An argument `{"@ref": "ko7"}` is a reference. References in the answer are shown as krefs, and kept for a
        while, so that they can be used.
        """
        ref = self._names.object(target)
        arguments = [self._names.to_argument(it) for it in args]
        keywords = {str(name): self._names.to_argument(it) for name, it in (kwargs or {}).items()}
        # Not through E, where a name may be one of Python's own.
        promise = ref._eventual_send(method, tuple(arguments), keywords, wants_result=True)
        try:
            answer = await promise
        except Exception as error:
            raise SendFailedError(f"{type(error).__name__}: {error}") from None
        return {"answer": self._names.to_answer(answer)}

    async def target(self, *, target: str) -> Json:
        """Who gets a message to an object: its kref, and the vat that has it; null for another's."""
        ref = self._names.object(target)
        exporter = self._kernel.exporter(ref)
        return {"kref": ref.kref, "vat": None if exporter is None else _vat(exporter)}

    async def revoke(self, *, target: str) -> Json:
        """Let no message to an object through any more. As that is for good, it has to be named exactly."""
        if not is_well_formed_kref(target):
            raise NoSuchObjectError(f"{target}: is no kref of an object, such as ko7")
        ref = self._names.object(target)
        await self._kernel.revoke(ref)
        return {"kref": ref.kref}

    async def collect(self, *, cycles: bool = False) -> Json:
        """Collect garbage; returns when it is done and the kernel idle."""
        self._kernel.collect_garbage(cycles=cycles)
        await self._kernel.idle()
        return self._kernel.census()

    # ---- dead letters ---------------------------------------------------------------------------

    async def dead_letters(self) -> Json:
        """Messages whose delivery faulted their vat."""
        return [
            {
                "number": it.number,
                "crank": it.crank,
                "vat": it.vat,
                "name": self._kernel.vat_name(it.vat),
                "target": it.target.kref,
                "method": it.method,
                **_brief(to_json(list(it.args)), to_json(dict(it.kwargs))),
                "reason": it.reason,
            }
            for it in self._kernel.get_dead_letters()
        ]

    async def retry(self, *, number: int) -> Json:
        """Send a dead letter again and wait for its answer."""
        try:
            answer = await self._kernel.retry_dead_letter(number)
        except DeadLetterNotFoundError:
            raise
        except Exception as error:
            raise SendFailedError(f"{type(error).__name__}: {error}") from None
        return {"answer": self._names.to_answer(answer)}

    async def drop(self, *, number: int) -> Json:
        """Forget a dead letter."""
        await self._kernel.drop_dead_letter(number)
        return {"number": number}


def _kind(is_system: bool) -> str:
    """The tables of TOML that such a subcluster is described in."""
    return "system" if is_system else "subclusters"


def _subcluster(it: Subcluster | Launch) -> dict[str, Json]:
    return {"id": it.id, "name": it.name, "bootstrap": it.config.bootstrap, "is_system": it.is_system}


def _vat(it: Vat) -> dict[str, Json]:
    return {
        "id": it.id,
        "name": it.name,
        "subcluster": it.subcluster_id,
        "state": it.state,
        "incarnation": it.incarnation,
        "source": it.source,
        "faults": it.faults,
        "critical": it.critical,
        "restart_due": it.restart_due,
        "running": it.running,
        "reason": it.reason,
    }


def _brief(args: list[Json], kwargs: dict[str, Json]) -> dict[str, Json]:
    """Arguments of one of many messages, for showing: what is large only by its size."""
    size = len(json.dumps([args, kwargs]))
    return {"args": args, "kwargs": kwargs} if size <= LARGE else {"args": [f"<{size} characters>"], "kwargs": {}}


def _texts(names: list[Any] | None, what: str) -> list[str]:
    if not all(isinstance(name, str) for name in names or ()):
        raise BadCommandError(f"{what}: must be a list of texts")
    return names or []


# ---- calling by name --------------------------------------------------------------------------------


@cache
def signatures() -> dict[str, dict[str, tuple[Any, bool]]]:
    """The commands; of each the parameters, with type and whether it is needed."""
    found = {}
    for name, method in inspect.getmembers(Commands, inspect.iscoroutinefunction):
        if name.startswith("_") or name == "call":
            continue
        hints = get_type_hints(method)
        parameters = [it for it in inspect.signature(method).parameters.values() if it.kind is it.KEYWORD_ONLY]
        found[name] = {it.name: (hints[it.name], it.default is it.empty) for it in parameters}
    return found


def bound(commands: Commands, name: str, arguments: Mapping[str, Json]) -> Awaitable[Json]:
    """The call of a command, its arguments checked. Raises `BadCommandError`."""
    parameters = signatures().get(name)
    if parameters is None:
        raise BadCommandError(f"there is no command {as_text(name)[:80]}")
    for argument in arguments:
        if argument not in parameters:
            raise BadCommandError(f"{name} has no argument {as_text(argument)[:80]}")
    for parameter, (kind, is_needed) in parameters.items():
        if parameter not in arguments:
            if is_needed:
                raise BadCommandError(f"{name} needs the argument {parameter}")
        elif not _fits(arguments[parameter], kind):
            raise BadCommandError(f"{name}: the argument {parameter} has the wrong type")
    call: Awaitable[Json] = getattr(commands, name)(**arguments)
    return call


def _fits(value: Json, kind: Any) -> bool:
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    return any(type(value) is (get_origin(it) or it) for it in kinds)
