"""Who listens is told, over restarts, and is dropped when it is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocap import E, Kernel, ObjectGoneError
from tests.ready_made.launching import member, root
from vats.chat import HISTORY, MAX_TEXT


async def test_subscribers_get_what_is_published_in_order(path: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        publisher = await E(await root(kernel, "topics")).make_topic("news")
        topic = await E(publisher).get_topic()
        assert await E(topic).get_name() == "news"
        friend = (await member(kernel)).root
        polite, rude = await E(friend).make_ear(), await E(friend).make_ear(is_rude=True)
        for ear in (polite, rude, polite):
            await E(topic).subscribe(ear)
        assert [await E(publisher).publish(number) for number in range(3)] == [2, 2, 2]
        await kernel.idle()
        assert await E(polite).get_heard() == await E(rude).get_heard() == [0, 1, 2]
        for _ in range(2):
            await E(topic).unsubscribe(rude)
        assert await E(publisher).publish(3) == 1
        with pytest.raises(AttributeError, match="Topic has no method publish"):
            await E(topic).publish(4)


async def test_subscribers_survive_and_the_dead_are_dropped(path: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        publisher = await E(await root(kernel, "topics")).make_topic("news")
        topic = await E(publisher).get_topic()
        stays, goes = await member(kernel), await member(kernel)
        ear, gone, revoked = [await E(it.root).make_ear() for it in (stays, goes, stays)]
        for it in (ear, gone, revoked):
            await E(topic).subscribe(it)
        for vat in kernel.get_vats():
            await kernel.restart_vat(vat.id)
        assert await E(publisher).publish("one") == 3
        await kernel.idle()
        await kernel.terminate_subcluster(goes.id)
        await kernel.revoke(revoked)
        assert await E(publisher).publish("two") == 3
        await kernel.idle()
        assert await E(publisher).publish("three") == 1
        await kernel.idle()
        assert await E(ear).get_heard() == ["one", "two", "three"]


async def test_a_chat(path: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        chat, friend = await root(kernel, "chat"), (await member(kernel)).root
        ears = [await E(friend).make_ear(is_rude=bool(number)) for number in range(2)]
        ann, bob = await E(chat).join("ann", ears[0]), await E(chat).join("bob", ears[1])
        for name in ("ann", "", "  "):
            with pytest.raises(ValueError, match=r"is taken|is needed"):
                await E(chat).join(name, ears[0])
        await E(ann).say("hello")
        await E(bob).say("hi")
        for vat in kernel.get_vats():
            await kernel.restart_vat(vat.id)
        assert await E(chat).get_names() == ["ann", "bob"]
        assert [("ann", "hello"), ("bob", "hi")] == await E(ears[0]).get_heard() == await E(chat).get_lines()
        for _ in range(2):
            await E(bob).leave()
        with pytest.raises(RuntimeError, match="given up"):
            await E(bob).say("anybody?")
        await E(chat).join("bob", ears[0])  # the name is free; the old seat does not take it away
        await E(bob).leave()
        assert await E(chat).get_names() == ["ann", "bob"]
        with pytest.raises(ValueError, match="at most"):
            await E(ann).say("x" * (MAX_TEXT + 1))
        for number in range(HISTORY + 3):
            await E(ann).say(str(number))
        assert [str(number) for number in range(3, HISTORY + 3)] == [text for _, text in await E(chat).get_lines()]


async def test_a_listener_that_is_gone_leaves_its_seat(path: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        chat, stays, goes = await root(kernel, "chat"), await member(kernel), await member(kernel)
        ann = await E(chat).join("ann", await E(stays.root).make_ear())
        await E(chat).join("bob", await E(goes.root).make_ear())
        await kernel.terminate_subcluster(goes.id)
        await E(ann).say("bob?")
        await kernel.idle()
        assert await E(chat).get_names() == ["ann"]
        await kernel.revoke(ann)
        with pytest.raises(ObjectGoneError):
            await E(ann).say("?")
