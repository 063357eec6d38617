"""What can be asked over the socket, and what is answered."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import trio

from ocap.daemon import naming
from ocap.daemon.client import Client
from ocap.daemon.protocol import RequestFailedError
from tests.daemon.serving import Served, serving, toml, until


async def launched(it: Served, name: str = "c", parameters: str = "") -> str:
    (found,) = await it.client.call("launch", text=toml(name, parameters), folder=it.folder)
    return str(found["id"])


async def failure(it: Served, command: str, **arguments: object) -> tuple[str, str]:
    with pytest.raises(RequestFailedError) as caught:
        await it.client.call(command, **arguments)
    return caught.value.name, caught.value.message


async def send(it: Served, target: str, method: str, *args: object, **kwargs: object) -> object:
    return (await it.client.call("send", target=target, method=method, args=args, kwargs=kwargs))["answer"]


async def test_launch_list_and_show(db: Path) -> None:
    async with serving(db) as it:
        (found,) = await it.client.call("launch", text=toml(), folder=it.folder)
        assert {"id": "s1", "name": "c", "bootstrap": "a", "is_system": False, "root": "ko1", "result": "ok"} == found
        (listed,) = await it.client.call("subclusters")
        assert ["v1 a live", "v2 b live"] == [f"{vat['id']} {vat['name']} {vat['state']}" for vat in listed["vats"]]
        shown = await it.client.call("show", what="c")
        assert ("subcluster", "s1", "ko1", "ok") == tuple(shown[key] for key in ("kind", "id", "root", "result"))
        vat = await it.client.call("show", what="b")
        assert ("vat", "v2", "s1") == tuple(vat[key] for key in ("kind", "id", "subcluster"))


async def test_names_that_are_not_there_or_not_unique(db: Path) -> None:
    async with serving(db) as it:
        await launched(it, "c")
        await launched(it, "d")
        assert ("VatNotFoundError", "there is no subcluster or vat nope") == await failure(it, "show", what="nope")
        assert ("VatNotFoundError", "there is no vat c") == await failure(it, "upgrade", vat="c")
        assert ("SubclusterNotFoundError", "there is no subcluster a") == await failure(it, "reload", subcluster="a")
        name, message = await failure(it, "restart", what="a")
        assert ("AmbiguousNameError", "a is the name of vat v1, vat v3; use the id of one") == (name, message)


async def test_a_launch_that_waits_is_listed_and_can_be_given_up(db: Path) -> None:
    async with serving(db) as it, trio.open_nursery() as nursery:

        async def launch() -> None:
            async with await Client.connect(it.path) as client:
                with pytest.raises(RequestFailedError, match="its launch was given up"):
                    await client.call("launch", text=toml(parameters="never = true"), folder=it.folder)

        nursery.start_soon(launch)
        await until(it.kernel.get_launches)
        (listed,) = await it.client.call("subclusters")
        assert ("s1", "c", "launching") == (listed["id"], listed["name"], listed["state"])
        name, message = await failure(it, "show", what="s1")
        assert ("SubclusterNotFoundError", "c (s1) is being launched: its bootstrap has not answered") == (
            name,
            message,
        )
        assert {"id": "s1"} == await it.client.call("terminate", what="c")
        assert [] == await it.client.call("subclusters")


async def test_name_of_a_subcluster_and_its_bootstrap_vat_can_be_sent_to(db: Path) -> None:
    async with serving(db) as it:
        await it.client.call("launch", text=toml("a"), folder=it.folder)
        assert [[1], {}] == await send(it, "a", "echo", 1)
        assert "v1" == (await it.client.call("target", target="a"))["vat"]["id"]
        expected = ("AmbiguousNameError", "a is the name of subcluster s1, vat v1; use the id of one")
        assert expected == await failure(it, "restart", what="a")
        await it.client.call("launch", text=toml("b"), folder=it.folder)
        name, message = await failure(it, "send", target="b", method="echo", args=[])
        assert ("AmbiguousNameError", "b is the name of subcluster s2, vat v2, vat v4; use the id of one") == (
            name,
            message,
        )


async def test_launch_that_is_refused_changes_nothing(db: Path) -> None:
    async with serving(db) as it:
        for text, expected in [
            ("x = 1", ("ConfigError", "x: unknown key; known here: services, subclusters, system")),
            (toml(parameters="fails = true"), ("LaunchError", "c: bootstrap raised ValueError: as it was told to")),
        ]:
            assert expected == await failure(it, "launch", text=text, folder=it.folder)
        name, message = await failure(it, "launch", text=toml(), folder="/nowhere")
        assert ("ConfigError", "subclusters.c.vats.a.source: /nowhere/vat.py: no such file") == (name, message)
        assert [] == await it.client.call("subclusters")
        await launched(it)
        name, message = await failure(it, "launch", text=toml(), folder=it.folder)
        assert ("ConfigError", "subclusters.c: there is a subcluster of this name; update or reload it") == (
            name,
            message,
        )


@pytest.mark.parametrize(
    ("services", "more", "reason"),
    [
        ('["http"]', "", "subclusters.c: http needs [services.http], which the kernel was started without"),
        ("[]", '[services.http]\nhosts = ["a.org"]\n', "services.http: the kernel was started without"),
    ],
)
async def test_options_that_a_kernel_was_started_without_come_with_a_new_start(
    db: Path, services: str, more: str, reason: str
) -> None:
    async with serving(db) as it:
        text = toml().replace('"a"\n', f'"a"\nservices = {services}\n', 1) + more
        for command in ("check", "launch"):
            name, message = await failure(it, command, text=text, folder=it.folder)
            way = "`ocap stop`, then `ocap start` with a file that has this table"
            assert ("ConfigError", f"{reason}: {way}") == (name, message)


async def test_check_says_what_would_be_launched(db: Path) -> None:
    async with serving(db) as it:
        found = await it.client.call("check", text=toml(), folder=it.folder)
        assert [{"name": "c", "bootstrap": "a", "vats": ["a", "b"], "services": []}] == found
        assert [] == await it.client.call("subclusters")


async def test_reload_is_a_clean_slate_and_restart_is_not(db: Path) -> None:
    async with serving(db) as it:
        await launched(it)
        await send(it, "c", "note", "kept")
        await it.client.call("restart", what="c")
        await it.client.call("ping", what="c")
        (listed,) = await it.client.call("subclusters")
        assert ("s1", 1) == (listed["id"], listed["vats"][0]["incarnation"])
        assert "s2" == (await it.client.call("reload", subcluster="c"))["id"]
        (listed,) = await it.client.call("subclusters")
        assert [("v3", 0), ("v4", 0)] == [(vat["id"], vat["incarnation"]) for vat in listed["vats"]]


async def test_update_does_what_its_dry_run_said(db: Path) -> None:
    async with serving(db) as it:
        await launched(it)
        new = toml(parameters="x = 1").replace("vats.b]", "vats.z]")
        said = await it.client.call("update", subcluster="c", text=new, folder=it.folder, dry=True)
        assert {
            "added": {"z": None},
            "upgraded": {"a": None},
            "adjusted": {},
            "removed": ["b"],
            "at_reload": [],
        } == said
        assert said == await it.client.call("update", subcluster="c", text=new, folder=it.folder)
        assert 1 == await send(it, "a", "parameter", "x")
        name, message = await failure(it, "update", subcluster="c", text=toml("d"), folder=it.folder)
        assert ("ConfigError", "subclusters: has to be one, [subclusters.c]") == (name, message)


async def test_suspend_resume_upgrade_and_terminate(db: Path) -> None:
    async with serving(db) as it:
        await launched(it)
        found = await it.client.call("suspend", what="c")
        assert ["suspended", "suspended"] == [vat["state"] for vat in found["vats"]]
        assert ("VatSuspendedError", "vat a (v1) is suspended") == await failure(it, "ping", what="a")
        await it.client.call("resume", what="a")
        found = await it.client.call("upgrade", vat="a", parameters={"x": 2})
        assert 1 == found["incarnation"]
        assert 2 == await send(it, "a", "parameter", "x")
        name, _ = await failure(it, "upgrade", vat="a", source="/nowhere.py")
        assert "ConfigError" == name
        await it.client.call("terminate", what="b", reason="enough")
        await it.kernel.idle()
        assert ["v1"] == [vat.id for vat in it.kernel.get_vats()]
        await it.client.call("terminate", what="s1")
        await it.kernel.idle()
        assert [] == await it.client.call("subclusters")


async def test_answers_with_references_can_be_used(db: Path) -> None:
    async with serving(db) as it:
        await launched(it)
        note = await send(it, "a", "note", "hello")
        assert isinstance(note, str)
        assert note.startswith("ko")
        await it.kernel.idle()
        assert "hello" == await send(it, note, "read")
        assert "hello" == await send(it, "b", "read", {"@ref": note})
        assert [[{"x": [note]}], {"k": None}] == await send(it, "a", "echo", {"x": [{"@ref": note}]}, k=None)
        assert {"kref": note} == await it.client.call("revoke", target=note)
        name, message = await failure(it, "send", target=note, method="read", args=[])
        assert "SendFailedError" == name
        assert "RevokedError" in message


async def test_references_are_let_go_after_so_many(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "HELD", 2)
    async with serving(db) as it:
        await launched(it)
        notes = [str(await send(it, "a", "note", text)) for text in "wxyz"]
        await it.kernel.idle()
        assert "z" == await send(it, notes[3], "read")
        held = [name for name in notes if it.kernel._core.state.clist("host").by_kref(name) is not None]
        assert notes[2:] == held


@pytest.mark.parametrize(
    ("target", "method", "message"),
    [
        ("a", "nope", "AttributeError: Root has no method nope"),
        ("a", "__init__", "AttributeError: Root has no method __init__"),
        ("a", "__class__", "AttributeError: Root has no method __class__"),
        ("a", "fail", "KeyError: 'no'"),
        ("a", "x" * 2000, "method"),
        ("ko99", "x", "there is no object ko99"),
        ("kp1", "x", "kp1 is a promise; send to what it settles to"),
        ("", "x", "there is no subcluster or vat "),
    ],
)
async def test_sends_that_fail_say_why(db: Path, target: str, method: str, message: str) -> None:
    async with serving(db) as it:
        await launched(it)
        _, said = await failure(it, "send", target=target, method=method, args=[])
        assert message in said
        assert [[], {}] == await send(it, "a", "echo")


async def test_dead_letters_are_listed_retried_and_dropped(db: Path) -> None:
    async with serving(db) as it:
        await launched(it)
        assert "DisconnectedError" in (await failure(it, "send", target="a", method="flood", args=[]))[1]
        (letter,) = await it.client.call("dead_letters")
        assert ("v1", "a", "flood", []) == (letter["vat"], letter["name"], letter["method"], letter["args"])
        name, _ = await failure(it, "retry", number=letter["number"])
        assert "SendFailedError" == name
        (again,) = await it.client.call("dead_letters")
        assert letter["number"] < again["number"]
        await it.client.call("drop", number=again["number"])
        assert [] == await it.client.call("dead_letters")
        for command in ("retry", "drop"):
            assert ("DeadLetterNotFoundError", "there is no dead letter 9") == await failure(it, command, number=9)


async def test_of_large_dead_letters_the_list_has_the_size(db: Path) -> None:
    """So that a few of them do not make it longer than an answer may be."""
    async with serving(db) as it:
        await launched(it)
        await failure(it, "send", target="a", method="flood", args=["x" * 50_000])
        (letter,) = await it.client.call("dead_letters")
        assert (["<50010 characters>"], {}) == (letter["args"], letter["kwargs"])
        status = await it.client.call("status")
        assert (1, 2, 1) == (status["subclusters"], status["vats"], status["dead_letters"])


async def test_collect_tells_what_is_left(db: Path) -> None:
    async with serving(db) as it:
        await launched(it)
        assert 2 == (await it.client.call("collect", cycles=True))["objects"]


# ---- live traffic ---------------------------------------------------------------------------------


async def test_followers_see_what_they_asked_for(db: Path) -> None:
    async with serving(db) as it:
        await launched(it)
        async with await Client.connect(it.path) as follower:
            seen: list[dict[str, Any]] = []
            async with trio.open_nursery() as nursery:

                async def follow() -> None:
                    async with aclosing(follower.items("follow", vats=["b"], methods=["echo"])) as items:
                        async for crowd in items:
                            seen.extend(news["entry"] for news in crowd)
                            if seen[-1]["kind"] == "syscall":
                                return

                nursery.start_soon(follow)
                await until(lambda: it.tap._followers)
                await send(it, "a", "echo", 1)
                await send(it, "b", "echo", 2)
                nursery.cancel_scope.deadline = trio.current_time() + 5
        assert [("v2", "message"), ("v2", "resolve")] == [(entry["vat"], entry["op"]) for entry in seen]


async def test_time_of_vats_is_told_from_the_first_question_on(db: Path) -> None:
    async with serving(db) as it:
        await launched(it)
        began = await it.client.call("spent", vats=["v1", "v2", "v9"])
        assert {"v1": 0.0, "v2": 0.0, "v9": 0.0} == began["seconds"]
        await send(it, "a", "ask_other", 20)
        found = await it.client.call("spent", vats=["v2"])
        assert began["since"] == found["since"]
        assert ["v2"] == list(found["seconds"])
        assert 0.0 < found["seconds"]["v2"]
        name, message = await failure(it, "spent", vats=[1])
        assert ("BadCommandError", "vats: must be a list of texts") == (name, message)
