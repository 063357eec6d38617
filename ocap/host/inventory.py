"""What a host program sees of subclusters and vats: plain data, and a root to talk to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from ocap.config import ClusterConfig
from ocap.host.refs import HostRef
from ocap.protocol.refs import SubclusterId, VatId


@frozen
class Vat:
    """A vat, as it stood when asked for.

    Attributes:
        state: new, live, suspended or terminated.
        incarnation: 0 for the first; each restart or upgrade adds one.
    """

    id: VatId
    name: str
    subcluster_id: SubclusterId | None
    state: str
    incarnation: int
    source: str


@frozen
class Subcluster:
    """A launched subcluster.

    Attributes:
        root: the root of the bootstrap vat.
        result: what `bootstrap` returned.
        vats: by name.
    """

    id: SubclusterId
    name: str
    config: ClusterConfig
    root: HostRef = field(repr=False)
    result: Any = field(repr=False)
    vats: Mapping[str, Vat] = field(repr=False)
