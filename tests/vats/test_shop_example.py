"""The example of docs/explanation/heap-virtual-durable.md does what the page says."""

from __future__ import annotations

from pathlib import Path

from ocap.protocol.deliveries import StartVat
from tests.vats.puppet_kernel import Prom, Puppet, Rows, data
from vats.liveslots import Liveslots
from vats.loader import VatSource

SHOP = Path(__file__).parents[2] / "examples" / "objects" / "shop.py"


def incarnation(rows: Rows, number: int) -> Puppet:
    vat = Puppet(None, rows)
    source = VatSource(str(SHOP), "v1")
    vat.vat = Liveslots("v1", rows, source, registry=source.registry)
    assert vat.deliver(StartVat(number, data({"offers": {"tea": 3}}))).fault is None
    return vat


def test_orders_and_the_till_survive_and_a_watched_parcel_arrives() -> None:
    rows = Rows()
    vat = incarnation(rows, 0)
    assert vat.call("order", "tea", Prom("p-9")) == 1
    slot = vat.call("get_slot")
    assert vat.call("pay", 300, target=slot.vref) == 300
    vat = incarnation(rows, 1)
    vat.notify("p-9", "a parcel")
    assert vat.call("get_notes", 1) == ["arrived: a parcel"]
    assert vat.call("pay", 1, target=slot.vref) == 301
    assert vat.call("order", "tea") == 2
