"""What the type checkers must refuse: each line marked `refused`. Checked, never run."""

from __future__ import annotations

from tests.typing.eventual_accepted import Account, Branch
from vats import E, Ref


async def misuse(branch: Ref[Branch], account: Ref[Account]) -> None:
    await E(account).deposit("3")  # refused
    await E(account).withdraw(3)  # refused
    await account.deposit(3)  # refused
    await E(E(branch).open_account("x")).deposit("3")  # refused
    await E(branch).open_account("x", 1)  # refused
    await E(account).transfer(1, branch)  # refused
    E(3)  # refused
    Account(owner=3)  # refused
    Account("x")  # refused
