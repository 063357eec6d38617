"""What the pages show, and what their forms do: the panel in the test's own process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
import trio
from attrs import evolve

from ocap import ClusterConfig, Kernel, VatConfig
from ocap.config import parse_toml
from ocap.daemon import commands
from ocap.daemon.commands import Commands
from ocap.daemon.protocol import VERSION
from ocap.daemon.silence import SilenceFile
from ocap.panel.circles import circles
from ocap.panel.drawing import graph, plot
from ocap.panel.live import Live
from ocap.panel.reading import Edge, Reader
from ocap.panel.words import linked
from ocap.protocol.refs import sort_key
from ocap.ring.watchdog import SlowStep
from ocap.services.cluster_file import ClusterFile
from ocap.stored import _LETTERS, Kind, Saying, saying
from tests.commands import ENVIRONMENT, ocap
from tests.daemon.serving import VAT, serving, toml, until
from tests.panel.visiting import Visit, visiting


async def text(visit: Visit, path: str) -> str:
    answer = await visit.client.get(path)
    assert 200 == answer.status_code, path
    return answer.text


async def test_promise_that_waits_is_shown_with_who_decides_and_who_waits(db: Path) -> None:
    async with visiting(db) as visit, trio.open_nursery() as nursery:
        nursery.start_soon(visit.do, "send")  # refused: a form without its fields
        promise = visit.served.kernel.root("v1")._eventual_send("wait", (), {}, wants_result=True)
        await visit.served.kernel.idle()
        page = await text(visit, "/promises")
        assert f'href="/promises/{promise.kref}"' in page
        assert "v1 a" in page
        assert "host" in page
        page = await text(visit, f"/promises/{promise.kref}")
        assert "unresolved" in page
        assert f"/promises/{promise.kref}" in await text(visit, "/vats/v1")
        nursery.cancel_scope.cancel()


async def test_how_long_things_wait_is_known_from_the_store(db: Path) -> None:
    """Also of what waited before there was a panel, and a kernel that runs: here for three hours."""
    async with visiting(db) as visit:
        kernel = visit.served.kernel
        await visit.do("send", target="a", method="flood", args="[]")
        old = kernel.root("v1")._eventual_send("wait", (), {}, wants_result=True)
        await visit.do("suspend", what="v2")
        kernel.root("v2")._eventual_send("echo", ("old",), {}, wants_result=False)
        await kernel.idle()
        kernel._backend._marker._ahead += 3 * 3600 * 1000
        new = kernel.root("v1")._eventual_send("wait", (), {}, wants_result=True)
        await kernel.idle()
        page = await text(visit, "/promises")
        waits = dict(re.findall(r'href="/promises/(kp\d+)">.*?data-label="waiting">(\d+ \w+)<td', page))
        assert ("3 h", "0 s") == (waits[old.kref], waits[new.kref])
        assert list(waits) == sorted(waits, key=sort_key)
        newest = re.findall(r'href="/promises/(kp\d+)">', await text(visit, "/promises?order=newest"))
        assert list(reversed(waits)) == newest
        assert "<dd>3 h" in await text(visit, f"/promises/{old.kref}")
        assert 'data-label="waiting">3 h</tr>' in await text(visit, "/vats/v2")
        assert 'data-label="since">3 h' in await text(visit, "/dead-letters")


async def test_vat_says_why_it_is_suspended_and_whether_it_runs(db: Path) -> None:
    async with visiting(db) as visit:
        assert "a task in the kernel" in await text(visit, "/vats/v2")
        await visit.do("suspend", what="v2")
        page = await text(visit, "/vats/v2")
        assert "<dd>none; one is built from durable state when the vat is resumed" in page
        for path in ("/", "/vats", "/vats/v2", "/subclusters/s1"):
            assert "the host asked for it" in await text(visit, path)
        await visit.do("resume", what="v2")
        assert "the host asked for it" not in await text(visit, "/vats/v2")


async def test_time_that_vats_take_is_told_and_orders_them(db: Path) -> None:
    async with visiting(db) as visit:
        await visit.do("send", target="a", method="ask_other", args="[200]")
        kernel = visit.served.kernel
        await kernel.idle()
        assert "The busiest first" in await text(visit, "/vats")
        page = await text(visit, "/vats?order=time")
        spent = kernel.tally().seconds
        found = re.findall(
            r'<tr><td class="full"><a href="/vats/(v\d+)">.*?data-label="Time spent">([\d.]+) (m?s)', page, re.DOTALL
        )
        assert sorted(spent, key=spent.__getitem__, reverse=True) == [vat for vat, _, _ in found]
        for vat, number, unit in found:
            assert spent[vat] == pytest.approx(float(number) / (1000 if unit == "ms" else 1), abs=0.06)
        for path in ("/subclusters/s1", "/vats/v1"):
            assert "since" in await text(visit, path)


async def test_vats_are_shown_a_page_at_a_time(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocap.panel.app.PAGE", 1)
    async with visiting(db) as visit:
        await visit.do("send", target="b", method="note", args='["a text"]')
        for order in ("", "order=time&"):
            shown = set()
            for page, others in enumerate(["/vats?page=1", "/vats?page=0"]):
                found = await text(visit, f"/vats?{order}page={page}")
                assert "2 vats; here 1" in found
                shown |= set(re.findall(r'<td class="full"><a href="/vats/(v\d+)">', found))
                assert [others] == re.findall(r'class="button" href="(/vats\?page=\d)', found)
            assert {"v1", "v2"} == shown
        with visit.reader() as reader:
            exports = {row["id"]: row["exports"] for row in reader.vats()}
            owned = Counter(row["owner"] for row in reader.objects())
        assert {vat: owned[vat] for vat in exports} == exports


def test_vats_that_wait_for_each_other_are_found() -> None:
    assert [] == circles([("v2", "v1"), ("v3", "v2")])
    assert [["v1", "v3", "v2"]] == circles([("v2", "v1"), ("v3", "v2"), ("v1", "v3"), ("v1", "v4"), ("v4", "v3")])
    assert [["v7"]] == circles([("v7", "v7"), ("v7", "v8")])


async def test_object_is_shown_with_its_holders_and_revoked(db: Path) -> None:
    async with visiting(db) as visit:
        root = visit.served.kernel.root("v2").kref
        page = await text(visit, f"/objects/{root}")
        assert "v1 a" in page
        assert 'it is the root of <a href="/vats/v2">v2</a> b' in page
        assert "cannot be undone" in await text(visit, f"/objects/{root}/revoke")
        done = await visit.do("revoke", what=root)
        assert (f"Revoked {root}: no message to it is let through any more.", f"/objects/{root}") == (
            done["message"],
            done["to"],
        )
        found = await visit.do("send", target=root, method="echo", args="[]")
        assert "RevokedError" in found["error"]
        assert "Revoke…" not in await text(visit, f"/objects/{root}")


async def test_dead_letter_is_retried_and_dropped(db: Path) -> None:
    async with visiting(db) as visit:
        await visit.do("send", target="a", method="flood", args="[]")
        page = await text(visit, "/dead-letters")
        assert "<code>flood()</code>" in page
        found = await visit.do("retry", number="1")
        assert (
            "1 faulted v1 a again, and is dead letter 2 now. The vat has 2 faults; at 3 it is suspended. made"
            in found["error"]
        )
        assert "Dead letter 2</a>" in await text(visit, "/")
        assert {"message": "Dropped 2."} == await visit.do("drop", number="2")
        assert "None." in await text(visit, "/dead-letters")
        assert {"error": "there is no dead letter 9"} == await visit.do("drop", number="9")


async def test_forms_that_are_wrong_are_told_so(db: Path) -> None:
    async with visiting(db) as visit:
        for action, fields, message in [
            ("send", {"target": "a"}, "method: is missing"),
            ("send", {"target": "a", "method": "echo", "args": "{}"}, "arguments: must be a JSON list"),
            ("upgrade", {"what": "v1", "parameters": "[]"}, "parameters: must be a JSON object"),
            ("drop", {"number": "x"}, "number: must be a number"),
            ("restart", {"what": "v9"}, "there is no subcluster or vat v9"),
            ("nope", {}, "there is no such action"),
        ]:
            assert {"error": message} == await visit.do(action, **fields)


async def test_store_is_shown_and_verified(db: Path) -> None:
    async with visiting(db) as visit:
        await visit.do("send", target="a", method="note", args='["a text to be found"]')
        await visit.served.kernel.idle()
        assert "a text to be found" in await text(visit, "/store/vatstore")
        assert {"message": "All invariants hold."} == await visit.do("verify")
        for fields in ({}, {"cycles": "yes"}):
            found = await visit.do("collect", **fields)
            assert ["objects", "promises", "clist", "queue", "vatstore"] == [it.split(":")[0] for it in found["detail"]]
            assert all(re.fullmatch(r"\w+: [\d,]+ before, [\d,]+ after", it) for it in found["detail"])
        assert 404 == (await visit.client.get("/store/vatstore;drop")).status_code


async def test_config_in_the_editor_changes_nothing_when_it_is_sent_back(db: Path) -> None:
    async with visiting(db, launched=False) as visit:
        config = toml(parameters='word = "x", deep = { list = [1, 2.5, true] }')
        await visit.served.client.call("launch", text=config, folder=visit.served.folder)
        page = await text(visit, "/subclusters/s1/update")
        shown = page.partition("autofocus>\n")[2].partition("</textarea>")[0]
        plain = shown.replace("&#34;", '"').replace("&#39;", "'")
        found = await visit.do("preview", subcluster="s1", text=plain)
        assert ["Nothing changes."] == found["detail"]


async def test_every_page_says_that_the_kernel_is_held_up_and_by_what(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with visiting(db) as visit:
        stats, goes_on = Commands.stats, trio.Event()

        async def held_up(self: Commands) -> Any:
            await goes_on.wait()
            return await stats(self)

        tell = SilenceFile(visit.served.path)
        with monkeypatch.context() as patch:
            patch.setattr(Commands, "stats", held_up)
            tell(SlowStep(7, "v1", "a", "method <b>", "vat.py:3", time.time() - 45, 45.0))
            said = f"Process {os.getpid()} does not answer: the kernel has been in vat v1 a, method &lt;b&gt;, for "
            with trio.fail_after(10):
                while said not in await text(visit, "/"):  # noqa: ASYNC110 - a page is no event
                    await trio.sleep(0.1)
            for path in ("/vats", "/vats/v1", "/subclusters/s1", "/traffic", "/vats/v1/suspend", "/store"):
                page = await text(visit, path)
                assert said in page
                assert "Wait, or end it with `ocap stop`. What is shown is what the store has." in page
            found = await visit.do("suspend", what="v2")
            assert found["error"].startswith("Not done: process ")
            assert {"message": "All invariants hold."} == await visit.do("verify")
            tell(None)
            goes_on.set()
            with trio.fail_after(10):
                while 'class="banner"' in await text(visit, "/"):  # noqa: ASYNC110 - as above
                    await trio.sleep(0.1)
        assert "error" not in await visit.do("suspend", what="v2")


async def test_system_subcluster_is_marked_and_updated_as_a_file_describes_it(db: Path) -> None:
    (db.parent / "vat.py").write_text(VAT)
    system = parse_toml(toml("board").replace("subclusters.", "system."), db.parent, "").system
    async with visiting(db, file=ClusterFile(system=system)) as visit:
        found = await visit.served.kernel.launch_offered("board")
        assert re.search(r'board <span class="[^"]*">system</span>', await text(visit, "/subclusters"))
        page = await text(visit, f"/subclusters/{found.id}/update")
        config = unescape(page.partition("autofocus>\n")[2].partition("</textarea>")[0])
        assert config.startswith("[system.board]\n")
        config = config.replace("[system.board.vats.b]", "[system.board.vats.z]")
        done = await visit.do("update", subcluster=found.id, text=config)
        assert f"/subclusters/{found.id}" == done["to"]
        assert {"a", "z"} == set(visit.served.kernel.get_subcluster(found.id).vats)


async def test_panel_that_meets_a_daemon_of_another_version_says_so(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(db) as it, trio.open_nursery() as nursery:
        with closing(Reader(db)) as reader, monkeypatch.context() as patch:
            patch.setattr(commands, "VERSION", VERSION - 1)
            live = Live(reader, it.path, None)
            nursery.start_soon(live.run)
            await until(lambda: live.held_up)
            assert f"the daemon, process {os.getpid()}, is of an older version than this program; restart it" in str(
                live.held_up
            )
            patch.undo()  # it was restarted
            await until(lambda: live.samples)
            assert live.held_up is None
            nursery.cancel_scope.cancel()


async def test_stream_tells_of_changes_and_of_traffic(db: Path) -> None:
    async with visiting(db) as visit, trio.open_nursery() as nursery:
        body = b'{"traffic": true, "method": "echo", "since": 0}'
        head = [
            f"POST /events HTTP/1.1\r\nHost: {visit.base[7:]}",
            f"Cookie: {visit.cookie()}",
            f"Content-Length: {len(body)}",
        ]
        request = "\r\n".join([*head, *(f"{name}: {value}" for name, value in visit.headers.items())]).encode()
        told = b""

        async def listen() -> None:
            nonlocal told
            told = await visit.raw(request + b"\r\n\r\n" + body, 2.5)

        nursery.start_soon(listen)
        await until(lambda: visit.served.tap._followers)
        await visit.do("send", target="b", method="echo", args='["seen"]')
        await visit.do("send", target="b", method="other", args='["not asked for"]')
        await until(lambda: told)
        assert b'"lines"' in told
        assert b'.echo(\\"seen\\")' in told
        assert b'"version"' in told
        assert b"not asked for" not in told


def test_pictures_are_well_formed_whatever_they_show() -> None:
    for points in ([], [(0.0, 0.0)], [(0.0, 1.0), (5.0, 1e9), (6.0, 3.0)], [(-500.0, 1.0)]):
        for lines in ({"": points}, {"median": points, "99 % <": points[:1]}):
            fromstring(plot(lines, "a second", "<label> & more", now=6.0, span=10))
    names = {f"v{number}": "<b>\u202e" for number in range(60)}
    edges = [Edge("v1", "v2", 3), Edge("v2", "v1", 1), Edge("v3", "v3", 1), Edge("host", "v1", 1)]
    for shown in ({}, {"v1": "a"}, names):
        fromstring(graph(shown, edges, "v1"))


@pytest.mark.parametrize("missing", ["starlette", "jinja2", "tomli_w", "hypercorn"])
def test_missing_extra_says_what_to_install(missing: str, db: Path, tmp_path: Path) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from ocap.__main__ import main; sys.exit(main())"
    for arguments in (["panel"], ["run", str(tmp_path / "none.toml"), "--panel"]):
        if arguments[0] == "run" and missing != "starlette":
            continue
        (tmp_path / "none.toml").write_text(toml())
        (tmp_path / "vat.py").write_text("")
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT)
        assert (2, "") == (done.returncode, done.stdout)
        assert "ocap[panel]" in done.stderr
        assert 1 == len(done.stderr.splitlines())


def test_panel_needs_a_daemon_and_a_port(db: Path) -> None:
    done = ocap("panel")
    assert (2, "ocap: no daemon is running; start one with `ocap start CLUSTER.toml --db FILE`\n") == (
        done.returncode,
        done.stderr,
    )


async def test_message_to_a_suspended_vat_is_said_to_be_held_back(db: Path) -> None:
    async with visiting(db) as visit:
        await visit.do("suspend", what="v2")
        for name, waiting in (("b", "1 message waits for it"), ("v2", "2 messages wait for it")):
            found = await visit.do("send", target=name, method="echo", args="[]")
            assert f"v2 b is suspended: {waiting}. The message is sent" in found["message"]
        for path in ("/", "/vats/v2"):
            assert "2 messages wait for it, the oldest for " in await text(visit, path)
        await visit.do("resume", what="v2")
        assert "Nothing." in await text(visit, "/vats/v2")


async def test_unknown_address_has_the_menu_too(db: Path) -> None:
    async with visiting(db) as visit:
        for path in ("/nowhere", "/vats/host", "/vats/v2/explode", "/a/b/c/d"):
            answer = await visit.client.get(path)
            assert (404, True) == (answer.status_code, '<a href="/vats"' in answer.text), path


async def test_objects_say_what_they_are(db: Path) -> None:
    """The exporter's rows name the class of a durable object; what a vat stored an import as stands with the import."""
    async with visiting(db) as visit:
        found = await visit.do("send", target="b", method="note", args='["a text"]')
        note = found["answer"]
        with visit.reader() as reader:
            assert "Note" == reader.object(note)["is"]
            assert {"root of a", "root of b", "Note"} <= {row["is"] for row in reader.objects()}
        for path in ("/objects", f"/objects/{note}"):
            assert "Note" in await text(visit, path)


async def test_rows_of_vatstores_are_decoded_and_filtered_by_vat(db: Path) -> None:
    async with visiting(db) as visit:
        await visit.do("send", target="b", method="note", args='["a text"]')
        await visit.served.kernel.idle()
        page = await text(visit, "/store/vatstore?vat=v2")
        for shown in (
            "durable class 10",
            "fields of o+d10/1 (Note)",
            "{&#34;text&#34;: &#34;a text&#34;}",
            "[&#34;a text&#34;]",
        ):
            assert shown in page
        assert "v1" not in re.findall(r'data-label="vat"><div>(v\d+)', page)
        assert {"v1", "v2"} <= set(re.findall(r'data-label="vat"><div>(v\d+)', await text(visit, "/store/vatstore")))
        with visit.reader() as reader:
            rows = reader.table("vatstore", 0)[1]
        assert rows
        assert [] == [row for row in rows if not row[2]]  # there is no row that the panel has no words for


def test_every_sort_of_row_has_words() -> None:
    kinds = {10: Kind("Note"), 11: Kind("Purse", ("full", "spent"))}
    cases = {
        (b"cd10", b"1001"): ("numbers set aside for instances of Note", "below 1001"),
        (b"k11", b"Purse\nfull\nspent"): ("durable class 11", "Purse, with the facets full, spent"),
        (b"so+d10/1", b"o-4\n\xa1ato\xd9\xca\x00\x82\x00fobject"): None,
        (b"m0 \x17clerk\x00", b"\n\x05"): ('baggage ["clerk"]', "5"),
        (b"q3 \x1co-4\x00", b"\n\x05"): ('store 3 ["o-4"]', "5"),
        (b"n2", b"7"): ("size of store 2", "7"),
        (b"g2", b"9"): ("where the entries of store 2 are since it was cleared", "m9"),
        (b"ro-4", b"2 Clerk"): ("rows that refer to o-4 (Clerk)", "2"),
        (b"xo+d11/3:1", b"s"): ("export o+d11/3:1 (Purse, facet spent)", "the kernel only recognises it"),
        (b"uo+d10/1", b""): ("o+d10/1 (Note) is held by the heap alone", ""),
        (b"wo-4 3", b""): ("weak store 3 has o-4 as a key", ""),
        (b"yo-4", b""): ("import o-4 is dropped, but recognised", ""),
        (b"z2", b"m"): ("entries under m2 are to be swept", ""),
        (b"hp+1 2", b"\n\x05"): ("watch 2 of promise p+1", "5"),
        (b"v3 n2", b"7"): ("of incarnation 3: size of store 2", "7"),
    }
    assert _LETTERS.keys() == {key[:1] for key, _ in cases}
    for (key, value), expected in cases.items():
        found = saying(key, value, kinds)
        assert found.what
        if expected is not None:
            assert expected == (found.what, found.value)


@pytest.mark.parametrize("key", [b"", b"?", b"n", b"m0 \xff", b"so+d10/1", b"xo+1", b"c\xff", b"v9 ?", b"k", b"r\xff"])
def test_row_that_liveslots_did_not_write_stays_bytes(key: bytes) -> None:
    assert Saying("", "\\xffraw") == saying(key, b"\xffraw", {})


async def test_who_uses_a_service_is_known(db: Path) -> None:
    db.with_name("vat.py").write_text(VAT)
    config = ClusterConfig("a", {"a": VatConfig(str(db.with_name("vat.py")))})
    async with Kernel(db, system={"bell": config}) as kernel:
        used = await kernel.launch_subcluster(evolve(config, services=("bell",), name="user"))
        await kernel.launch_subcluster(evolve(config, name="other"))
        with closing(Reader(db)) as reader:
            (bell,) = (vat["id"] for vat in reader.vats() if vat["subcluster_name"] == "bell")
            (service,) = reader.services_of(bell)
            assert ("bell", [used.id]) == (service["name"], [it["id"] for it in service["users"]])
            assert [] == reader.services_of(next(iter(used.vats.values())).id)
            assert "root of a, service bell" == reader.object(kernel.root(bell).kref)["is"]


def test_names_in_text_lead_to_their_pages_and_nothing_else_gets_in() -> None:
    found = linked('v2 <b>"kp7"</b> s3 ko9=o-1 v0 kp7x \u202e')
    assert (
        '<a href="/vats/v2">v2</a> &lt;b&gt;&#34;<a href="/promises/kp7">kp7</a>&#34;&lt;/b&gt; '
        '<a href="/subclusters/s3">s3</a> <a href="/objects/ko9">ko9</a>=o-1 v0 kp7x \\u202e'
    ) == found
