# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""What the type checkers must refuse. An ignore that ignores nothing is an error itself."""

from __future__ import annotations

from tests.typing.off_heap_accepted import Account, Bank, Purse, Row
from vats import DurablePromiseKit, E, Exo, MapStore, Ref, SetStore, watch


async def misuse(bank: Bank, account: Ref[Account], kit: DurablePromiseKit[int]) -> None:
    Account(owner=3)  # type: ignore[arg-type]
    Account()  # type: ignore[call-arg]
    Account(owner="a", tags=3)  # type: ignore[arg-type]
    Row(note="x")  # type: ignore[call-arg]
    Purse(payee=3)  # type: ignore[call-arg]
    Purse().payee.withdraw(3)  # type: ignore[attr-defined]
    Purse().payee = Purse().payee  # type: ignore[assignment]
    await E(Purse().payee).deposit("3")  # type: ignore[arg-type]
    await E(Purse()).deposit(3)  # type: ignore[call-overload]
    bank.accounts[3] = Account(owner="a")  # type: ignore[index]
    bank.accounts["a"] = 3  # type: ignore[assignment]
    bank.names.add(3)  # type: ignore[arg-type]
    MapStore[str, int](3)  # type: ignore[call-arg, arg-type]
    SetStore[int]().add("x")  # type: ignore[arg-type]
    watch(E(account).deposit(3), Exo())  # type: ignore[arg-type]
    watch(3, bank.waiting)  # type: ignore[arg-type]
    kit.resolve("x")  # type: ignore[arg-type]
