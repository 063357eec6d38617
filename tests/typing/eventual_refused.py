# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""What the type checkers must refuse. An ignore that ignores nothing is an error itself."""

from __future__ import annotations

from tests.typing.eventual_accepted import Account, Branch
from vats import E, Ref


async def misuse(branch: Ref[Branch], account: Ref[Account]) -> None:
    await E(account).deposit("3")  # type: ignore[arg-type]
    await E(account).withdraw(3)  # type: ignore[attr-defined]
    await account.deposit(3)  # type: ignore[attr-defined]
    await E(E(branch).open_account("x")).deposit("3")  # type: ignore[arg-type]
    await E(branch).open_account("x", 1)  # type: ignore[call-arg]
    await E(account).transfer(1, branch)  # type: ignore[arg-type]
    E(3)  # type: ignore[call-overload]
    Account(owner=3)  # type: ignore[arg-type]
    Account("x")  # type: ignore[call-arg]
