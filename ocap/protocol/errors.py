"""The one tree of errors. Each says who is at fault and what to do.

Every class is also a subclass of the nearest builtin, so that `except LookupError` and the like
work. The ones in `CROSSING` keep their class when they cross a vat; of any other class that is
not a builtin only name, message and error id arrive, as `RemoteError`.
"""

from __future__ import annotations


class OcapError(Exception):
    """Anything this library raises on purpose."""


class ConfigError(OcapError, ValueError):
    """A cluster or vat config is wrong. The configurer's fault; nothing was changed.

    Attributes:
        path: where in the config, such as `vats.branch.source`; empty for the whole.
        reason: what is wrong there.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


class NotPassableError(OcapError, TypeError):
    """A value cannot be sent or stored. The sender's fault; nothing was sent.

    Attributes:
        path: where in the value, such as `args[0]["rows"][3].fh`.
        reason: what stands there and what to send instead.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


class OversizeError(NotPassableError):
    """A value is passable but too large to be sent or stored in one piece. The sender's fault.

    Attributes:
        size: its bytes, encoded.
    """

    def __init__(self, path: str, reason: str, size: int) -> None:
        super().__init__(path, reason)
        self.args = (path, reason, size)
        self.size = size


class RemoteError(OcapError, RuntimeError):
    """A behaviour in another vat raised something that is not a builtin.

    Attributes:
        name: the class's name there.
        message: what it said.
        error_id: where the log has the traceback; no traceback crosses a vat.
    """

    def __init__(self, name: str, message: str, error_id: str | None = None) -> None:
        super().__init__(name, message, error_id)
        self.name = name
        self.message = message
        self.error_id = error_id

    def __str__(self) -> str:
        return f"{self.name}: {self.message}" if self.message else self.name


class DisconnectedError(OcapError, ConnectionError):
    """Who was to answer is gone: its incarnation ended, or its vat faulted or was terminated.

    What it did before may have taken effect; ask it again through a reference that survives
    (a root, a durable object).
    """


class IncarnationEndedError(DisconnectedError):
    """The incarnation that was to answer ended: its vat was restarted, upgraded or suspended, or it faulted.

    Attributes:
        vat: its vat's id.
        incarnation: which one, from 0.
        reason: what ended it.
    """

    def __init__(self, vat: str, incarnation: int, reason: str) -> None:
        super().__init__(reason)
        self.args = (vat, incarnation, reason)  # an OSError would take three for errno and a file name
        self.vat = vat
        self.incarnation = incarnation
        self.reason = reason

    def __str__(self) -> str:
        return f"incarnation {self.incarnation} of {self.vat} ended: {self.reason}"


class VatTerminatedError(DisconnectedError):
    """The object's vat was terminated; no later incarnation will answer."""


class ObjectGoneError(DisconnectedError):
    """The object was not durable and went with the incarnation that made it."""


class RevokedError(ObjectGoneError):
    """The host program revoked the object: nobody's reference to it works any more."""


class VatSuspendedError(OcapError, RuntimeError):
    """The vat is suspended, so it does not answer; resume it first."""


class BacklogError(OcapError, BufferError):
    """A vat has so much waiting that no more is taken in; it is slow, or suspended. Nothing was sent.

    Send again later, or resume the vat.
    """


class DecodeError(OcapError, ValueError):
    """Bytes from the other side of a wall break the protocol. The other side's fault."""


class VatFaultError(OcapError, RuntimeError):
    """A vat broke a rule of the kernel or a limit: its crank left no trace."""


class LaunchError(OcapError, RuntimeError):
    """A subcluster or vat could not be launched; nothing of it remains."""


class UpgradeError(OcapError, RuntimeError):
    """A vat could not be upgraded: it goes on as it was. Says what the new code did wrong."""


class CriticalVatError(OcapError, RuntimeError):
    """A critical vat failed, so the kernel stopped; the crank left no trace and is tried again at the next start.

    Mend the vat's code, or terminate the vat before it gets its next delivery.
    """


class DeadLetterNotFoundError(OcapError, LookupError):
    """There is no dead letter of that number."""


class SubclusterNotFoundError(OcapError, LookupError):
    """There is no subcluster of that id."""


class VatNotFoundError(OcapError, LookupError):
    """There is no vat of that id."""


class KernelClosedError(OcapError, RuntimeError):
    """The kernel is not running: enter it with `async with`, or it was left meanwhile."""


class StoreError(OcapError, OSError):
    """The database file cannot be used; it was not changed."""


class NotOurStoreError(StoreError):
    """The file is not a database of this project."""


class StoreVersionError(StoreError):
    """The database was written by another version whose layout this one does not know."""


class StoreInUseError(StoreError):
    """Another kernel has the database open."""


class StoreFailedError(StoreError):
    """The database could not be written: full or read-only disk, or an IO error.

    The kernel stops; what was acknowledged before is on disk.
    """


CROSSING: dict[str, type[Exception]] = {
    cls.__name__: cls
    for cls in (
        ConfigError,
        NotPassableError,
        OversizeError,
        DisconnectedError,
        IncarnationEndedError,
        VatTerminatedError,
        ObjectGoneError,
        RevokedError,
        VatSuspendedError,
        BacklogError,
        LaunchError,
        UpgradeError,
        VatNotFoundError,
        SubclusterNotFoundError,
    )
}
