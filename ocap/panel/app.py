"""The pages, put together: what is asked for, what is read for it, and the template that shows it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import tomli_w
import trio
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ocap.daemon.client import Client
from ocap.daemon.protocol import RequestFailedError
from ocap.legible import as_text, safe_text
from ocap.log import Entry, to_line
from ocap.log.svg import to_svg
from ocap.log.traffic import Traffic, traffic_of
from ocap.panel.access import Doorkeeper, Wall, cookie_name
from ocap.panel.actions import WITHOUT_KERNEL, Actions, FormError
from ocap.panel.circles import circles
from ocap.panel.drawing import MAX_NODES, Lines, graph, latest_of, plot
from ocap.panel.feeds import Feed, Filter, Shown
from ocap.panel.live import Live
from ocap.panel.rates import Spending, latency, rate
from ocap.panel.reading import HIDDEN, PAGE, POLICIES, NothingThereError, Reader, Row
from ocap.panel.words import clock, inert, last_part, linked, moment, seconds, span_since, visible
from ocap.protocol.errors import OcapError
from ocap.protocol.refs import KERNEL

STEPS = 60
"""Of the diagram of live traffic: what fits on a screen or two."""

UNSEEN = "kernel, or not seen"
"""Whom a message is from whose sending was not seen."""

LINES = 500
"""Of traffic that a page shows at once."""

DRAWN = 1_000
"""The latest entries that a diagram is drawn from."""

HEARTBEAT = 15.0
"""Seconds after which a stream without news says that it lives."""

LETTERS = 5
"""Dead letters that the overview names."""

SPAN = 120.0
"""Seconds that a plot goes back."""

STREAMS = 16
"""Streams of events at a time; a browser has one for each open page."""

STATIC = {
    "icon.svg": "image/svg+xml",
    "panel.css": "text/css; charset=utf-8",
    "panel.js": "text/javascript; charset=utf-8",
    "login.js": "text/javascript; charset=utf-8",
}

_OF_SUBCLUSTERS = ("update", "reload", "restart", "suspend", "resume", "terminate")
_OF_VATS = ("upgrade", "restart", "suspend", "resume", "terminate")

_PICTURE = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
"""A diagram is a document with a style of its own, and no scripts."""

Page = Callable[[Request], Awaitable[Response]]


class Panel:
    """The panel of one kernel.

    Args:
        about: what the daemon said of itself.
        connect: opens a connection to it.
    """

    def __init__(
        self, reader: Reader, live: Live, about: Mapping[str, Any], connect: Callable[[], Awaitable[Client]]
    ) -> None:
        self._reader = reader
        self._live = live
        self._about = about
        self._connect = connect
        self._actions = Actions(connect, reader, about["folder"])
        self._streams = 0
        self._spending = Spending()
        self._static = {name: files("ocap.panel").joinpath("static", name).read_bytes() for name in STATIC}
        self._templates = Environment(
            loader=PackageLoader("ocap.panel"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            # Vats wrote much of what is shown: nothing of it may turn text round or hide.
            finalize=lambda value: safe_text(value) if type(value) is str else value,
        )
        self._templates.globals.update(
            as_text=as_text,
            page_size=PAGE,
            max_nodes=MAX_NODES,
            hidden=HIDDEN,
            policies=POLICIES,
            clock=clock,
            span_since=span_since,
        )
        self._templates.filters.update(last_part=last_part, linked=linked, seconds=seconds, moment=moment)

    def app(self, keeper: Doorkeeper, port: int) -> Wall:
        """The whole, behind its wall."""
        self._keeper = keeper
        self._cookie = cookie_name(port)
        routes = [
            Route("/", self._page(self._overview)),
            Route("/subclusters", self._page(self._subclusters)),
            Route("/subclusters/launch", self._page(self._launch)),
            Route("/subclusters/{id}", self._page(self._subcluster)),
            Route("/subclusters/{id}/{action}", self._page(self._subcluster_action)),
            Route("/vats", self._page(self._vats)),
            Route("/vats/{id}", self._page(self._vat)),
            Route("/vats/{id}/{action}", self._page(self._vat_action)),
            Route("/objects", self._page(self._objects)),
            Route("/objects/{kref}", self._page(self._object)),
            Route("/objects/{kref}/revoke", self._page(self._revoke)),
            Route("/graph", self._page(self._graph)),
            Route("/promises", self._page(self._promises)),
            Route("/promises/{kref}", self._page(self._promise)),
            Route("/send", self._page(self._send)),
            Route("/traffic", self._page(self._traffic)),
            Route("/traffic/diagram.svg", self._page(self._diagram)),
            Route("/traffic/why/{crank:int}", self._page(self._why_crank)),
            Route("/dead-letters", self._page(self._dead_letters)),
            Route("/store", self._page(self._store)),
            Route("/store/{table}", self._page(self._table)),
            Route("/static/{name}", self._static_file),
            Route("/do/{action}", self._do, methods=["POST"]),
            Route("/events", self._events, methods=["POST"]),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
        ]
        login = self._templates.get_template("login.html").render().encode()
        paths = [f"/static/{name}" for name in STATIC]
        return Wall(
            Starlette(routes=routes, exception_handlers={404: self._missing}), keeper, port, paths, "/login", login
        )

    async def _missing(self, request: Request, _error: Exception) -> Response:
        return self._show(request, "missing.html", 404, "")

    def _page(self, make: Page) -> Page:
        async def page(request: Request) -> Response:
            try:
                return await make(request)
            except NothingThereError:
                return self._show(request, "missing.html", 404, "")

        return page

    def _show(self, request: Request, template: str, status: int, section: str, **context: Any) -> Response:
        text = self._templates.get_template(template).render(
            token=request.scope["state"]["session"].token,
            section=section,
            is_away=self._live.is_away,
            held_up=self._live.held_up,
            database=self._about["database"],
            **context,
        )
        return Response(text, status, media_type="text/html")

    # ---- pages ----------------------------------------------------------------------------------

    async def _overview(self, request: Request) -> Response:
        with self._reader.snapshot():
            vats, subclusters = self._reader.vats(), self._reader.subclusters()
            unsettled, stored = self._reader.unsettled(), self._reader.stored()
            letters, letter_count = self._reader.dead_letters(LETTERS), self._reader.dead_letter_count()
        faulty = [vat for vat in vats if vat["faults"] or vat["state"] == "suspended"]
        held = sum(vat["queued"] for vat in vats if vat["state"] == "suspended")
        counts = {"unsettled": unsettled, "stored": stored, "held": held, "letter_count": letter_count}
        rows = {"vats": vats, "subclusters": subclusters, "faulty": faulty, "letters": letters}
        told = None if self._live.is_away else self._live.told
        about, plots = self._live.about or self._about, self._plots()
        context = {"told": told, "about": about, "plots": plots, **counts, **rows}
        return self._show(request, "overview.html", 200, "overview", **context)

    def _plots(self) -> list[tuple[str, str, Markup]]:
        """Of each plot what it is of, the latest value, and the picture."""
        samples, now = list(self._live.samples), trio.current_time()
        took = {
            name: [(at, seconds * 1000) for at, seconds in latency(samples, part)]
            for name, part in (("median", 0.5), ("99 %", 0.99))
        }
        plots: list[tuple[str, str, str, Lines]] = [
            ("Cranks a second", "Cranks a second", "a second", {"": rate(samples, lambda it: it.cranks)}),
            ("Commits a second", "Commits a second", "a second", {"": rate(samples, lambda it: it.commits)}),
            (
                "Items in the run queue",
                "Items in the run queue",
                "items",
                {"": [(it.at, float(it.queue)) for it in samples]},
            ),
            ("Milliseconds a crank (dashed: what 99 % do not exceed)", "Time of a crank", "ms", took),
        ]
        return [
            (caption, latest_of(lines), plot(lines, unit, label, now=now, span=SPAN))
            for caption, label, unit, lines in plots
        ]

    async def _subclusters(self, request: Request) -> Response:
        with self._reader.snapshot():
            found = self._reader.subclusters()
        return self._show(request, "subclusters.html", 200, "subclusters", subclusters=found)

    async def _launch(self, request: Request) -> Response:
        return self._show(request, "launch.html", 200, "subclusters", folder=self._about["folder"])

    async def _subcluster(self, request: Request) -> Response:
        with self._reader.snapshot():
            found = self._reader.subcluster(request.path_params["id"])
            text = self._editable(found)
        since = await self._say_time_spent(found["vats"])
        return self._show(request, "subcluster.html", 200, "subclusters", it=found, text=text, since=since)

    async def _subcluster_action(self, request: Request) -> Response:
        action = request.path_params["action"]
        if action not in _OF_SUBCLUSTERS:
            raise NothingThereError
        with self._reader.snapshot():
            found = self._reader.subcluster(request.path_params["id"])
            text = self._editable(found) if action == "update" else None
        context = {"it": found, "action": action, "kind": "subcluster", "folder": self._about["folder"], "text": text}
        return self._show(
            request, "update.html" if action == "update" else "action.html", 200, "subclusters", **context
        )

    def _editable(self, subcluster: Row) -> Markup | None:
        """The config of a subcluster as TOML; None if TOML cannot say it."""
        config = self._reader.config(subcluster["id"])
        if config is None:
            return None
        try:
            kind = "system" if subcluster["is_system"] else "subclusters"
            text = tomli_w.dumps({kind: {config.pop("name"): config}}, multiline_strings=True)
        except (TypeError, ValueError):
            return None
        return Markup(escape(visible(text)))  # noqa: S704 - escaped; the editor shows its lines

    async def _vats(self, request: Request) -> Response:
        page, by_time = _number(request, "page"), request.query_params.get("order") == "time"
        with self._reader.snapshot():
            every = self._reader.vats()
        found = every[page * PAGE : (page + 1) * PAGE]
        since = await self._say_time_spent(every if by_time else found)
        if by_time:
            every.sort(key=lambda vat: vat["spent"] or 0.0, reverse=True)
            found = every[page * PAGE : (page + 1) * PAGE]
        context = {"vats": found, "count": len(every), "since": since, "by_time": by_time, "page": page}
        return self._show(request, "vats.html", 200, "vats", **context)

    async def _vat(self, request: Request) -> Response:
        with self._reader.snapshot():
            found = self._reader.vat(request.path_params["id"])
        told = await self._told("show", what=found["id"])
        since = await self._say_time_spent([found])
        return self._show(request, "vat.html", 200, "vats", it=found, running=told and told["running"], since=since)

    async def _say_time_spent(self, vats: list[Row]) -> float | None:
        """Put into the rows of vats how long their cranks took: since when; None if that is not known."""
        told = await self._told("spent", vats=[vat["id"] for vat in vats])
        if told is not None:
            self._spending.note(trio.current_time(), told)
        for vat in vats:
            vat["spent"], vat["share"] = (None, None) if told is None else self._spending.of(vat["id"])
        return None if told is None else self._spending.since

    async def _vat_action(self, request: Request) -> Response:
        action = request.path_params["action"]
        if action not in _OF_VATS:
            raise NothingThereError
        with self._reader.snapshot():
            found = self._reader.vat(request.path_params["id"])
        template = "upgrade.html" if action == "upgrade" else "action.html"
        context = {"it": found, "action": action, "kind": "vat"}
        return self._show(request, template, 200, "vats", **context)

    async def _objects(self, request: Request) -> Response:
        vat, after = request.query_params.get("vat", ""), _number(request, "after")
        with self._reader.snapshot():
            found, names = self._reader.objects(vat, after), self._reader.names()
        return self._show(request, "objects.html", 200, "objects", objects=found, names=names, vat=vat, after=after)

    async def _object(self, request: Request) -> Response:
        kref = request.path_params["kref"]
        with self._reader.snapshot():
            found = self._reader.object(kref)
        try:
            why = await trio.to_thread.run_sync(self._reader.why, kref)
        except LookupError:
            raise NothingThereError from None
        return self._show(request, "object.html", 200, "objects", it=found, why=why)

    async def _revoke(self, request: Request) -> Response:
        with self._reader.snapshot():
            found = self._reader.object(request.path_params["kref"])
        return self._show(request, "revoke.html", 200, "objects", it=found)

    async def _graph(self, request: Request) -> Response:
        chosen = request.query_params.get("vat", "")
        with self._reader.snapshot():
            names = self._reader.names()
            edges = self._reader.edges()
        names["host"] = "host"
        within = [edge for edge in edges if edge.source in names and edge.target in names]
        if chosen in names:
            within = [edge for edge in within if chosen in (edge.source, edge.target)]
        ends = {chosen, *(end for edge in within for end in (edge.source, edge.target))}
        drawn = {vat: name for vat, name in names.items() if vat in ends}
        context = {"picture": graph(drawn, within, chosen), "edges": within, "names": names, "drawn": len(drawn)}
        return self._show(request, "graph.html", 200, "objects", chosen=chosen if chosen in names else "", **context)

    async def _promises(self, request: Request) -> Response:
        newest_first = request.query_params.get("order") == "newest"
        with self._reader.snapshot():
            found, count = self._reader.promises(newest_first=newest_first), self._reader.unsettled()
            waits, names = self._reader.waits(), self._reader.names()
        context = {"promises": found, "count": count, "waits": waits, "names": names, "newest_first": newest_first}
        return self._show(request, "promises.html", 200, "promises", circles=circles(waits), **context)

    async def _promise(self, request: Request) -> Response:
        with self._reader.snapshot():
            found = self._reader.promise(request.path_params["kref"])
        return self._show(request, "promise.html", 200, "promises", it=found)

    async def _send(self, request: Request) -> Response:
        with self._reader.snapshot():
            names = self._reader.names()
        target = request.query_params.get("target", "")
        return self._show(request, "send.html", 200, "send", names=names, target=target, methods=self._methods(target))

    def _methods(self, target: str) -> list[str]:
        """What was lately sent to a vat or an object; to anybody, if there is no target yet."""
        seen = set()
        for entry in self._live.traffic.entries():
            if entry.op != "message" or entry.kernel is None:
                continue
            if not target or target in (entry.vat, entry.name, entry.kernel["target"]):
                seen.add(str(entry.kernel["method"]))
        return sorted(seen)

    # ---- traffic --------------------------------------------------------------------------------

    async def _traffic(self, request: Request) -> Response:
        feed = self._live.traffic.find(_filter(request.query_params))
        with self._reader.snapshot():
            names = self._reader.names()
        last = feed.ring[-1].number if feed.ring else 0
        context = {"filters": feed.filter, "names": names, "lines": _lines(list(feed.ring)[-LINES:]), "last": last}
        return self._show(request, "traffic.html", 200, "traffic", said=feed.said(), query=request.url.query, **context)

    async def _diagram(self, request: Request) -> Response:
        feed = self._live.traffic.find(_filter(request.query_params))
        entries = [it.entry for it in feed.ring if it.entry is not None]
        by = {it.entry.cause: it.by for it in feed.ring if it.entry is not None and it.by is not None}
        recent = {id(entry) for entry in entries[-DRAWN:]}
        ran = {crank: vat for crank, (vat, _) in by.items()}
        traffic = traffic_of(entries, lambda entry: id(entry) in recent, limit=DRAWN, ran=ran)
        steps = traffic.steps[-STEPS:]
        taking_part = {vat for step in steps for vat in (step.source, step.target)}
        names = {vat: name for vat, name in (traffic.names | dict(by.values())).items() if vat in taking_part}
        if KERNEL in names:
            names[KERNEL] = UNSEEN
        return Response(to_svg(Traffic(names, steps, len(steps))), media_type="image/svg+xml", headers=_PICTURE)

    async def _why_crank(self, request: Request) -> Response:
        crank = request.path_params["crank"]
        lines = [(entry, to_line(entry)) for entry in await self._live.traffic.why(crank)]
        log = (self._live.about or self._about).get("log_json")
        return self._show(request, "why.html", 200, "traffic", crank=crank, lines=lines, log_json=log)

    async def _events(self, request: Request) -> Response:
        try:
            asked = await request.json()
            since, wants_traffic = int(asked.get("since", 0)), bool(asked.get("traffic"))
            chosen = _filter({name: str(asked.get(name, "")) for name in ("vat", "method", "ref")})
        except (ValueError, TypeError, AttributeError, RecursionError):
            return PlainTextResponse("no such stream\n", 400)
        if self._streams >= STREAMS:
            return PlainTextResponse(f"{STREAMS} pages follow already; close one\n", 503)
        return StreamingResponse(self._stream(chosen if wants_traffic else None, since), media_type="text/event-stream")

    async def _stream(self, chosen: Filter | None, since: int) -> AsyncGenerator[bytes, None]:
        self._streams += 1
        try:
            if chosen is None:
                async for event in self._news(None, since):
                    yield event
            else:
                feed = self._live.traffic.find(chosen)
                with feed.looking():
                    async for event in self._news(feed, since):
                        yield event
        finally:
            self._streams -= 1

    async def _news(self, feed: Feed | None, since: int) -> AsyncGenerator[bytes, None]:
        version, said = self._live.version, ""
        yield b": here\n\n"
        while True:
            changed = self._live.changed
            news: dict[str, Any] = {}
            if self._live.version != version:
                version = news["version"] = self._live.version
            if feed is not None and feed.said() != said:
                said = news["said"] = feed.said()
            if feed is not None and (fresh := feed.after(since)):
                since = news["since"] = fresh[-1].number
                news["lines"] = _lines(fresh)
            if news:
                yield f"data: {json.dumps(news)}\n\n".encode()
            if not await _within(HEARTBEAT, changed.wait):
                yield b": still here\n\n"
            await trio.sleep(0.2)  # what comes in a crowd is told at once

    # ---- dead letters, the store ----------------------------------------------------------------

    async def _dead_letters(self, request: Request) -> Response:
        with self._reader.snapshot():
            found, count = self._reader.dead_letters(), self._reader.dead_letter_count()
        return self._show(request, "dead_letters.html", 200, "dead-letters", letters=found, count=count)

    async def _told(self, command: str, **arguments: Any) -> Any:
        """What the daemon answers; None if it does not, or cannot."""
        if self._live.held_up is not None:
            return None
        try:
            async with await self._connect() as client:
                return await client.call(command, **arguments)
        except OcapError:
            return None

    async def _store(self, request: Request) -> Response:
        with self._reader.snapshot():
            tables, stored = self._reader.tables(), self._reader.stored()
        return self._show(request, "store.html", 200, "store", tables=tables, stored=stored)

    async def _table(self, request: Request) -> Response:
        name, page, vat = request.path_params["table"], _number(request, "page"), request.query_params.get("vat", "")
        with self._reader.snapshot():
            columns, rows = self._reader.table(name, page, vat)
            vats, names = self._reader.vats_with_rows(name), self._reader.names()
        shown = {"name": name, "columns": columns, "rows": rows, "page": page}
        return self._show(request, "table.html", 200, "store", **shown, vat=vat, vats=vats, names=names)

    # ---- what is no page ------------------------------------------------------------------------

    async def _static_file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._static:
            return PlainTextResponse("there is no such file\n", 404)
        return Response(self._static[name], media_type=STATIC[name])

    async def _do(self, request: Request) -> Response:
        try:
            fields = await request.json()
        except (ValueError, RecursionError):
            return JSONResponse({"error": "not JSON"}, 400)
        if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
            return JSONResponse({"error": "a form is a JSON object of texts"}, 400)
        action = request.path_params["action"]
        if self._live.held_up is not None and action not in WITHOUT_KERNEL:
            return JSONResponse(inert({"error": f"Not done: {self._live.held_up}"}), 503)
        try:
            return JSONResponse(inert(await self._actions.do(action, fields)))
        except RequestFailedError as error:
            return JSONResponse(inert({"error": error.message}), 409)
        except FormError as error:
            return JSONResponse(inert({"error": str(error)}), 400)
        except OcapError as error:
            return JSONResponse(inert({"error": str(error)}), 503)

    async def _login(self, request: Request) -> Response:
        try:
            code = (await request.json())["code"]
        except (ValueError, TypeError, KeyError, RecursionError):
            code = None
        session = self._keeper.login(code) if isinstance(code, str) else None
        if session is None:
            return JSONResponse({"error": "this link was used already, or is none: take the latest one"}, 401)
        answer = JSONResponse({"to": "/"})
        answer.set_cookie(self._cookie, session.cookie, path="/", httponly=True, samesite="strict")
        return answer

    async def _logout(self, request: Request) -> Response:
        self._keeper.logout(request.scope["state"]["session"])
        answer = JSONResponse({"to": "/"})
        answer.delete_cookie(self._cookie, path="/", httponly=True, samesite="strict")
        return answer


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "0")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


def _filter(asked: Mapping[str, str]) -> Filter:
    """The filter of the traffic."""
    return Filter(*(asked.get(name, "").strip()[:100] for name in ("vat", "method", "ref")))


def _lines(shown: Sequence[Shown]) -> list[dict[str, Any]]:
    """The lines of traffic; of more than a page can show at once the latest."""
    lines: list[dict[str, Any]] = []
    if len(shown) > LINES:
        lines.append(_remark(f"{len(shown) - LINES:,} lines more than can be shown at once"))
    for it in shown[-LINES:]:
        if it.entry is None:
            lines.append(_remark(f"{it.passed_over:,} cranks passed over"))
        else:
            lines.append({"kind": _kind(it.entry), "crank": it.entry.crank, "text": to_line(it.entry)})
    return lines


def _remark(text: str) -> dict[str, Any]:
    return {"kind": "passed-over", "crank": 0, "text": text}


def _kind(entry: Entry) -> str:
    if any(it["rejected"] for it in entry.settlements()):
        return "rejected"
    return entry.kind


async def _within(seconds: float, wait: Callable[[], Awaitable[None]]) -> bool:
    with trio.move_on_after(seconds):
        await wait()
        return True
    return False
