"""Each thing that can be done from a page: the page says what it will do, and it does that and no more."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import apsw
import pytest

from ocap import E
from ocap.panel.actions import _ACTIONS
from ocap.panel.app import _OF_SUBCLUSTERS, _OF_VATS
from ocap.panel.reading import PAGE
from tests.daemon.serving import toml
from tests.panel.visiting import Visit, visiting
from tests.ring.clusters import launch
from tests.stores import rows_of

WILL = {
    "update": ["Vats that are new in the config are created", "with all they have stored"],
    "reload": ["under a new id: every vat starts with an empty store", "the old s1 ends"],
    "restart": ["Gives up the heap", "The next incarnation is built from what is stored"],
    "suspend": ["Holds back what is sent to", "until it is resumed"],
    "resume": ["have what was held back, in order"],
    "terminate": ["for good, with all it has stored. This cannot be undone", "are rejected from then on"],
    "upgrade": ["Starts a new incarnation, number 1", "the vat goes on as it was"],
    "revoke": ["Lets no message to", "This cannot be undone"],
}
"""What the page of an action says before anything is done."""


async def text(visit: Visit, path: str) -> str:
    answer = await visit.client.get(path)
    assert 200 == answer.status_code, path
    return unescape(answer.text)


def will(page: str) -> str:
    found = re.search(r'<div class="card will">(.*?)</div>', page, re.DOTALL)
    assert found
    return " ".join(re.sub("<[^>]+>", "", found[1]).split())


async def state(visit: Visit, vat: str) -> dict[str, Any]:
    found = await visit.served.client.call("show", what=vat)
    assert isinstance(found, dict)
    return found


async def test_pages_say_what_an_action_does_and_to_whom_before_it_is_done(db: Path) -> None:
    async with visiting(db) as visit:
        await visit.served.kernel.idle()
        before = rows_of(db)
        paths = [(action, f"/subclusters/s1/{action}", "v1 a, v2 b") for action in _OF_SUBCLUSTERS]
        paths += [(action, f"/vats/v2/{action}", "v2 b") for action in _OF_VATS]
        paths += [("revoke", f"/objects/{visit.served.kernel.root('v2').kref}/revoke", "v1 a")]
        assert {action for action, _, _ in paths} == WILL.keys()
        for action, path, concerned in paths:
            found = will(await text(visit, path))
            assert [] == [words for words in WILL[action] if words not in found], path
            if "Concerned" in found:
                assert [] == [name for name in concerned.split(", ") if name not in found], path
            else:
                assert action in ("update", "upgrade")  # whose page is about one thing, in its title
        assert before == rows_of(db)


async def test_every_action_is_on_a_page_and_those_on_pages_are_there(db: Path) -> None:
    async with visiting(db) as visit:
        await visit.do("send", target="a", method="flood", args="[]")
        root = visit.served.kernel.root("v2").kref
        paths = ["/", "/subclusters/launch", "/send", "/dead-letters", "/store", "/vats/v2", f"/objects/{root}/revoke"]
        paths += [f"/subclusters/s1/{action}" for action in _OF_SUBCLUSTERS] + [f"/vats/v2/{it}" for it in _OF_VATS]
        pages = [await text(visit, path) for path in paths]
    assert set(re.findall(r'data-(?:post|check|do)="/do/([\w-]+)"', "".join(pages))) == _ACTIONS.keys()


async def test_vat_is_suspended_resumed_restarted_pinged_and_terminated(db: Path) -> None:
    async with visiting(db) as visit:
        for action, said, expected in [
            ("suspend", "Suspended v2 b: messages are held back, in order.", ("suspended", 0)),
            ("resume", "Resumed v2 b: what was held back is delivered.", ("live", 0)),
            ("restart", "Restarted v2 b: built anew when it is next needed.", ("live", 0)),
        ]:
            assert {"message": said, "to": "/vats/v2"} == await visit.do(action, what="v2")
            found = await state(visit, "v2")
            assert expected == (found["state"], found["incarnation"]), action
        found = await visit.do("ping", what="v2")
        assert re.fullmatch(r"It answered in \d+ ms\.", found["message"])
        page = await text(visit, "/vats/v2")
        assert "<dt>Incarnation<dd>1\n" in page
        assert {"message": "Terminated v2 b.", "to": "/vats"} == await visit.do("terminate", what="v2")
        await visit.served.kernel.idle()
        assert 404 == (await visit.client.get("/vats/v2")).status_code
        assert "/vats/v2" not in await text(visit, "/vats")


async def test_vats_of_a_subcluster_are_suspended_and_resumed_together(db: Path) -> None:
    async with visiting(db) as visit:
        for action, expected in (("suspend", "suspended"), ("resume", "live")):
            assert "/subclusters/s1" == (await visit.do(action, what="s1"))["to"]
            assert [expected] * 2 == [(await state(visit, vat))["state"] for vat in ("v1", "v2")]


async def test_page_of_a_vat_has_its_parameters_and_what_waits(db: Path) -> None:
    async with visiting(db, launched=False) as visit:
        config = toml(parameters='currency = "CHF"')
        await visit.served.client.call("launch", text=config, folder=visit.served.folder)
        await visit.do("suspend", what="v1")
        await visit.do("send", target="a", method="echo", args='["held back"]')
        page = await text(visit, "/vats/v1")
        assert '<dt>Parameters<dd><code>{"currency": "CHF"}</code>' in page
        assert '<code>echo("held back")</code>' in page
        assert "<td>held back<td" in page


# ---- objects and promises ---------------------------------------------------------------------------------


async def edges(visit: Visit) -> set[tuple[str, str, str]]:
    """Who reaches how much of whom, as the picture and the table have it; without what the host holds."""
    await visit.served.kernel.idle()
    page = await text(visit, "/graph")
    drawn = set(re.findall(r"<title>(\w+) holds (\d+) of (\w+)</title>", page))
    rows = [
        re.sub("<[^>]+>", "", row.replace("<td", ",<td")).split(",") for row in re.findall("<tr>(<td>.*?)</tr>", page)
    ]
    assert drawn == {(source.split()[0], count, owner.split()[0]) for _, source, owner, count in rows}
    return {edge for edge in drawn if edge[0] != "host"}


async def test_graph_has_who_reaches_whom_and_how_much(db: Path) -> None:
    async with visiting(db, launched=False) as visit:
        _, a, b = await launch(visit.served.kernel)
        assert {("v1", "1", "v2"), ("v2", "1", "v1")} == await edges(visit)
        counter = await E(b).get_counter()
        await E(a).keep("counter", counter)
        assert {("v1", "2", "v2"), ("v2", "1", "v1")} == await edges(visit)
        await E(a).keep("counter", None)
        await E(b).keep("other", None)
        visit.served.kernel.collect_garbage()
        assert {("v1", "1", "v2")} == await edges(visit)
        assert 'class="edge chosen"' in await text(visit, "/graph?vat=v1")
        assert 'class="edge chosen"' not in await text(visit, "/graph")


DEADLOCK = """
from vats import E, Exo, make_promise_kit

class Root(Exo):
    async def bootstrap(self, vats, services):
        self.other = vats.get("b")
        return "ok"

    async def ask(self):
        return await E(self.other).answer(self)

    async def answer(self, asker):
        return await E(asker).never()

    async def never(self):
        return await make_promise_kit().promise

def build_root_object(vat_powers, parameters, baggage):
    return Root()
"""


async def test_vats_that_wait_for_each_other_are_told_of(db: Path) -> None:
    """With the promises they wait for, whatever else waits for longer."""
    async with visiting(db, launched=False) as visit:
        db.with_name("vat.py").write_text(DEADLOCK)
        await visit.served.client.call("launch", text=toml(), folder=visit.served.folder)
        assert "wait for each other" not in await text(visit, "/promises")
        first = visit.served.kernel.root("v1")
        for _ in range(PAGE):
            first._eventual_send("never", (), {}, wants_result=True)
        first._eventual_send("ask", (), {}, wants_result=False)
        await visit.served.kernel.idle()
        page = re.sub("<[^>]+>", "", await text(visit, "/promises"))
        assert re.search(r"each other: v1 a for kp\d+, which v2 b decides; v2 b for kp\d+, which v1 a decides\.", page)


# ---- rates, the store -------------------------------------------------------------------------------------


async def test_overview_has_plots_of_rates_and_latencies(db: Path) -> None:
    async with visiting(db) as visit:
        await visit.do("send", target="a", method="ask_other", args="[50]")
        titles: list[str] = []

        async def look() -> bool:
            nonlocal titles
            titles = re.findall(r"<title>([^<]+)</title></svg>", await text(visit, "/"))
            return len(titles) == 4

        for _ in range(100):
            if await look():
                break
            await visit.do("send", target="a", method="ask_other", args="[5]")
        names = ["Cranks a second", "Commits a second", "Items in the run queue", "Time of a crank"]
        assert names == [title.partition(":")[0] for title in titles]
        assert re.search(r"median [\d.]+ ms, 99 % [\d.]+ ms", titles[3])


async def test_broken_store_is_said_to_be_broken(db: Path) -> None:
    async with visiting(db) as visit:
        await visit.served.kernel.idle()
        other = apsw.Connection(str(db))
        other.execute("UPDATE objects SET recognizable = recognizable + 1 WHERE kref = 'ko1'")
        found = await visit.do("verify")
        other.execute("UPDATE objects SET recognizable = recognizable - 1 WHERE kref = 'ko1'")
        other.close()
        assert re.fullmatch(r"\d+ are broken:", found["message"])
        assert any("ko1" in line for line in found["detail"])
        assert {"message": "All invariants hold."} == await visit.do("verify")


async def test_pages_read_over_a_connection_that_cannot_write(db: Path) -> None:
    async with visiting(db) as visit:
        with visit.reader() as reader, pytest.raises(apsw.ReadOnlyError):
            reader._db.execute("DELETE FROM vats")
