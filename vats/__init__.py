"""What a vat author imports: objects, eventual sends, promises and durable state.

A vat is a module with `build_root_object(vat_powers, parameters, baggage)` that returns its root
object. Nothing here knows trio, files or a clock.
"""

from ocap.protocol.errors import DisconnectedError, NotPassableError, RemoteError
from ocap.protocol.eventual import E, Promise, Ref
from ocap.protocol.passable import passable
from vats.durable import DurableExo
from vats.exo import Exo
from vats.powers import VatPowers
from vats.promise import PromiseKit, gather, make_promise_kit, race, spawn
from vats.stores import Baggage, MapStore

__all__ = [
    "Baggage",
    "DisconnectedError",
    "DurableExo",
    "E",
    "Exo",
    "MapStore",
    "NotPassableError",
    "Promise",
    "PromiseKit",
    "Ref",
    "RemoteError",
    "VatPowers",
    "gather",
    "make_promise_kit",
    "passable",
    "race",
    "spawn",
]
