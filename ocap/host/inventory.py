"""What a host program sees of subclusters and vats: plain data, and a root to talk to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from ocap.config import ClusterConfig
from ocap.host.refs import HostPromise, HostRef
from ocap.protocol.errors import LaunchError, UpgradeError
from ocap.protocol.refs import SubclusterId, VatId


@frozen
class Vat:
    """A vat, as it stood when asked for.

    Attributes:
        state: new, live, suspended or terminated.
        incarnation: 0 for the first; each restart or upgrade adds one.
        faults: since it was last reaped; its policy acts on the limit.
        restart_due: a restart of all vats was asked for, and it has not been needed since.
        running: it has a heap. Else one is built from its durable state when something is due for it.
        reason: why it is suspended, if it is and that is known.
    """

    id: VatId
    name: str
    subcluster_id: SubclusterId | None
    state: str
    incarnation: int
    source: str
    faults: int = 0
    critical: bool = False
    restart_due: bool = False
    running: bool = False
    reason: str | None = None


@frozen
class Subcluster:
    """A launched subcluster.

    Attributes:
        root: the root of the bootstrap vat; once that vat has gone, what is sent to it rejects.
        result: what `bootstrap` returned.
        vats: by name.
    """

    id: SubclusterId
    name: str
    config: ClusterConfig
    root: HostRef = field(repr=False)
    result: Any = field(repr=False)
    vats: Mapping[str, Vat] = field(repr=False)
    is_system: bool = False


@frozen
class Launch:
    """A subcluster whose `bootstrap` has not answered yet. If it never does, `terminate_subcluster` gives it up."""

    id: SubclusterId
    name: str
    config: ClusterConfig
    is_system: bool = False


@frozen
class SubclusterUpdate:
    """What a new config changed.

    Attributes:
        added: vats that are new in the config, by name, with what went wrong where one could not be created:
            nothing of it remains. Who needs the others is given their roots by `kernel.root`.
        upgraded: vats whose source, parameters, imports or endowments changed, by name, with what went wrong
            where that failed: these go on as they were.
        adjusted: vats that only get other options, at once: the names of these, by that of the vat.
        removed: vats that were terminated.
        at_reload: parts of the config that only the next reload applies.
    """

    added: Mapping[str, LaunchError | None]
    upgraded: Mapping[str, UpgradeError | None]
    adjusted: Mapping[str, tuple[str, ...]]
    removed: tuple[str, ...]
    at_reload: tuple[str, ...]


@frozen
class DeadLetter:
    """A message whose delivery faulted its vat. It waits to be retried or dropped.

    Attributes:
        crank: the crank that was undone.
        vat: whose; `reason`: what it did.
        target: the object it was sent to, or the promise for it.
    """

    number: int
    crank: int
    vat: VatId
    target: HostRef | HostPromise
    method: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    reason: str
