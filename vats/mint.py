"""A mint: money that can be moved and not forged.

Only who has the mint makes money; purses move it, and its sum stays the same. A purse has two facets: its
owner can spend, and gives others the payee, which takes payments and can do nothing else.

A payment is a purse, too: `withdraw` puts money into a new one, which is sent and then deposited. Nobody can
pass off an object of theirs as a purse: a parameter that is annotated with an exo class takes this vat's own
instances only, and the currency of those is compared.
"""

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, DurableExoKit, Exo, Facet, Ref, VatPowers, facet


class Currency(DurableExo):
    """What money is of: with it anybody can have an empty purse, and tell a good one from a bad."""

    name: str

    async def get_name(self) -> str:
        return self.name

    async def make_purse(self) -> Ref[Purse.Owner]:
        """An empty purse."""
        return Purse(currency=self).owner

    async def is_purse(self, thing: Any) -> bool:
        """Whether this is the owner's facet of a purse of this currency."""
        return isinstance(thing, Purse.Owner) and thing.kit.currency is self


class Purse(DurableExoKit):
    """Money of one currency."""

    currency: Currency
    balance: int = 0

    def _take(self, payment: Purse.Owner, amount: int | None) -> int:
        """Move an amount, or all, out of a payment into this purse."""
        other = payment.kit
        if other.currency is not self.currency:
            raise ValueError(f"a payment in {other.currency.name} into a purse of {self.currency.name}")
        other._spend(moved := other.balance if amount is None else amount)
        self.balance += moved
        return moved

    def _spend(self, amount: int) -> None:
        if amount < 0:
            raise ValueError("amount must not be negative")
        if amount > self.balance:
            raise ValueError(f"insufficient funds: {amount} of {self.balance}")
        self.balance -= amount

    class Payee(Facet["Purse"]):
        async def deposit(self, payment: Purse.Owner, amount: int | None = None) -> int:
            """Take so much, or all, out of a payment; how much that was.

            Raises:
                TypeError: no purse of this mint; the caller's fault, and nothing moved.
                ValueError: another currency, or not so much there; the caller's fault, and nothing moved.
            """
            return self.kit._take(payment, amount)

    class Owner(Facet["Purse"]):
        async def get_balance(self) -> int:
            return self.kit.balance

        async def get_currency(self) -> Ref[Currency]:
            return self.kit.currency

        async def get_payee(self) -> Ref[Purse.Payee]:
            """The facet that only takes payments: to be given to who is to pay."""
            return self.kit.payee

        async def deposit(self, payment: Purse.Owner, amount: int | None = None) -> int:
            """As the payee's."""
            return self.kit._take(payment, amount)

        async def withdraw(self, amount: int) -> Ref[Purse.Owner]:
            """A new purse with so much out of this one. Raises `ValueError` if there is less; the caller's fault."""
            self.kit._spend(amount)
            return Purse(currency=self.kit.currency, balance=amount).owner

    payee = facet(Payee)
    owner = facet(Owner)


class Mint(DurableExo):
    """The power to make money of one currency."""

    currency: Currency

    async def get_currency(self) -> Ref[Currency]:
        return self.currency

    async def make_money(self, amount: int) -> Ref[Purse.Owner]:
        """A purse with so much new money. Raises `ValueError` for less than nothing; the caller's fault."""
        if amount < 0:
            raise ValueError("amount must not be negative")
        return Purse(currency=self.currency, balance=amount).owner


class Mints(Exo):
    """The root: makes mints, each of a currency of its own, whatever it is called."""

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        """Nothing to do."""

    async def make_mint(self, name: str) -> Ref[Mint]:
        return Mint(currency=Currency(name=name))


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Mints:
    return Mints()
