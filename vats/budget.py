"""What one crank may use. No loop of awaits and no flood of messages may hold the kernel."""

from __future__ import annotations

from attrs import frozen


@frozen
class Budget:
    """Limits of one crank; exceeding one is a fault and the crank leaves no trace.

    Attributes:
        turns: continuations of behaviours, and as many messages within the vat, each of which will take one.
            A turn takes microseconds, so this is about a second.
        syscalls: each becomes rows of the kernel's transaction.
        body_bytes: bytes of all bodies sent, eight times `marshal.MAX_BODY`.
        store_bytes: bytes of keys and values written to the vatstore, for the same transaction.
    """

    turns: int = 100_000
    syscalls: int = 50_000
    body_bytes: int = 32 * 1024 * 1024
    store_bytes: int = 32 * 1024 * 1024


class CrankFaultError(BaseException):
    """The crank is over: a budget is used up or a rule is broken.

    Not an Exception, so that a behaviour's `except Exception` lets it pass; code that swallows it
    all the same is never resumed.
    """
