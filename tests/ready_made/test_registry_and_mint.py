"""Names to references; money that is moved and not forged."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ocap import E, Kernel
from tests.ready_made.launching import launch, member, root


async def test_names_lead_to_what_was_registered_over_restarts(path: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        registry = await root(kernel, "registry")
        ear = await E((await member(kernel)).root).make_ear()
        lookup = await E(registry).get_lookup()
        waiting = E(lookup).wait_for("ear")
        with pytest.raises(LookupError, match="nothing is registered as 'ear'"):
            await E(lookup).get("ear")
        await E(registry).register("ear", ear)
        assert await waiting is ear is await E(lookup).get("ear") is await E(lookup).wait_for("ear")
        with pytest.raises(ValueError, match="is registered already"):
            await E(registry).register("ear", ear)
        with pytest.raises(AttributeError, match="Lookup has no method register"):
            await E(lookup).register("x", ear)
        await E(registry).register("door", door := await E((await member(kernel)).root).make_ear())
        assert await E(lookup).get("door") is door
    async with Kernel(path, durability="process") as kernel:
        registry = await root(kernel, "registry")
        lookup = await E(registry).get_lookup()
        assert await E(lookup).get_names() == ["door", "ear"]
        assert await E(await E(lookup).get("ear")).get_heard() == []
        for _ in range(2):
            await E(registry).unregister("ear")
        assert await E(lookup).get_names() == ["door"]


async def test_who_waits_for_a_name_hears_of_it_after_a_restart_of_the_registry(path: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        registry = await root(kernel, "registry")
        waiting = E(await E(registry).get_lookup()).wait_for("door")
        await kernel.idle()
        await kernel.restart_vat(kernel.get_vats()[0].id)
        ear = await E((await member(kernel)).root).make_ear()
        await E(registry).register("door", ear)
        assert await waiting is ear


async def test_money_is_moved_by_payments(path: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        mint = await E(await root(kernel, "mint")).make_mint("florin")
        currency = await E(mint).get_currency()
        assert await E(currency).get_name() == "florin"
        alice, bob = await E(mint).make_money(100), await E(currency).make_purse()
        payment = await E(alice).withdraw(30)
        assert await E(await E(bob).get_payee()).deposit(payment, 20) == 20
        assert await E(bob).deposit(payment) == 10
        assert [await E(purse).get_balance() for purse in (alice, bob, payment)] == [70, 30, 0]
        assert await E(bob).get_currency() is currency
        assert await E(alice).deposit(alice) == 70
        assert await E(alice).get_balance() == 70
        await kernel.restart_vat(kernel.get_vats()[0].id)
        assert [await E(purse).get_balance() for purse in (alice, bob)] == [70, 30]


async def test_money_is_neither_made_nor_lost(path: Path) -> None:
    async with Kernel(path, durability="none") as kernel:
        mint = await E(await root(kernel, "mint")).make_mint("florin")
        purses = [await E(mint).make_money(100) for _ in range(4)]
        lots = random.Random(7)
        for _ in range(60):
            one, other, amount = lots.choice(purses), lots.choice(purses), lots.randrange(-20, 150)
            with suppress(ValueError):
                await E(other).deposit(one, amount)
            assert 400 == sum([await E(purse).get_balance() for purse in purses])


async def test_nothing_else_passes_for_money(path: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        mints = await root(kernel, "mint")
        mint, namesake = await E(mints).make_mint("florin"), await E(mints).make_mint("florin")
        purse, foreign = await E(mint).make_money(10), await E(namesake).make_money(10)
        payee = await E(purse).get_payee()
        false = await E((await member(kernel)).root).make_false_purse()
        other_mint = await E((await launch(kernel, "vats.mint")).root).make_mint("florin")
        elsewhere = await E(other_mint).make_money(10)
        for bad in (false, elsewhere, payee, mint, 10, None):
            with pytest.raises(TypeError, match="deposit: payment: expected"):
                await E(purse).deposit(bad)
        with pytest.raises(ValueError, match="a payment in florin into a purse of florin"):
            await E(purse).deposit(foreign)
        for amount in (-1, 11):
            with pytest.raises(ValueError, match=r"insufficient funds|must not be negative"):
                await E(purse).withdraw(amount)
        with pytest.raises(ValueError, match="must not be negative"):
            await E(mint).make_money(-1)
        for facet, method in [(payee, "withdraw"), (payee, "get_balance"), (purse, "make_money")]:
            with pytest.raises(AttributeError):
                await _send(facet, method, 1)
        currency = await E(mint).get_currency()
        assert [True, False, False, False] == [
            await E(currency).is_purse(it) for it in (purse, foreign, false, elsewhere)
        ]
        assert [await E(it).get_balance() for it in (purse, foreign, elsewhere)] == [10, 10, 10]


def _send(target: Any, method: str, *args: Any) -> Any:
    return getattr(E(target), method)(*args)
