"""What a vat author imports: objects, eventual sends, promises and durable state.

A vat is a module with `build_root_object(vat_powers, parameters, baggage)` that returns its root
object. Nothing here knows trio, files or a clock.
"""

from ocap.protocol.errors import (
    DisconnectedError,
    IncarnationEndedError,
    NotPassableError,
    ObjectGoneError,
    RemoteError,
    VatTerminatedError,
)
from ocap.protocol.eventual import E, Promise, Ref
from ocap.protocol.passable import passable
from vats.baggage import Baggage
from vats.durable import DurableExo, VirtualExo
from vats.durable_promises import DurablePromiseKit, make_durable_promise_kit
from vats.exo import Exo
from vats.fields import field
from vats.kinds import MissingKindError
from vats.kits import DurableExoKit, ExoKit, Facet, VirtualExoKit, facet
from vats.powers import VatPowers
from vats.promise import PromiseKit, gather, make_promise_kit, race, spawn
from vats.schema import SchemaError
from vats.stores import MapStore, SetStore
from vats.watchers import watch
from vats.weak import WeakMapStore, WeakSetStore

__all__ = [
    "Baggage",
    "DisconnectedError",
    "DurableExo",
    "DurableExoKit",
    "DurablePromiseKit",
    "E",
    "Exo",
    "ExoKit",
    "Facet",
    "IncarnationEndedError",
    "MapStore",
    "MissingKindError",
    "NotPassableError",
    "ObjectGoneError",
    "Promise",
    "PromiseKit",
    "Ref",
    "RemoteError",
    "SchemaError",
    "SetStore",
    "VatPowers",
    "VatTerminatedError",
    "VirtualExo",
    "VirtualExoKit",
    "WeakMapStore",
    "WeakSetStore",
    "facet",
    "field",
    "gather",
    "make_durable_promise_kit",
    "make_promise_kit",
    "passable",
    "race",
    "spawn",
    "watch",
]
