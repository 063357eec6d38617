"""What `build_root_object` is given beside its parameters: a log and the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ocap.protocol.syscalls import Exit

if TYPE_CHECKING:
    from vats.liveslots import Liveslots


class VatPowers:
    """The powers that every vat has over itself, and those that its config names.

    Attributes:
        endowments: references to the services of `VatConfig.endowments`, by name.
    """

    __slots__ = ("_vat", "endowments")

    def __init__(self, vat: Liveslots, endowments: Mapping[str, Any]) -> None:
        self._vat = vat
        self.endowments = endowments

    def log(self, *args: object) -> None:
        """Write a line to the vat's log, put together as `print` does."""
        self._vat.log(" ".join(map(str, args)))

    def exit(self, value: Any = None) -> None:
        """End this vat after the crank, with `value` as its completion. The first call of a crank counts.

        Raises:
            NotPassableError: `value` cannot be sent; the caller's fault, and the vat goes on.
        """
        self._vat.exit(Exit(False, self._vat.to_capdata(value, "value")))

    def exit_with_failure(self, reason: Any) -> None:
        """End this vat after the crank, which is undone. The first call of a crank counts.

        Args:
            reason: an exception, or any passable value that says why.

        Raises:
            NotPassableError: `reason` cannot be sent; the caller's fault, and the vat goes on.
        """
        self._vat.exit(Exit(True, self._vat.to_capdata(reason, "reason")))
