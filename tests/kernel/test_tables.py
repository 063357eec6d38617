"""Tables keep what differs from the store, and of what was only read no more than they must."""

from __future__ import annotations

from ocap.kernel.journal import Journal
from ocap.kernel.tables import Table


def test_rows_that_were_only_read_are_forgotten_and_changes_are_not() -> None:
    stored = {number: f"stored {number}" for number in range(1000)}
    journal = Journal()
    table: Table[int, str] = Table(journal, stored.get, limit=100)
    for number in range(50):
        table.put(number, f"changed {number}")
    table.put(50, None)
    journal.clear()
    for number in range(2000):
        assert table.get(number) == (
            f"changed {number}" if number < 50 else None if number == 50 else stored.get(number)
        )
        assert len(table) <= 2 * 51 + 100
    assert table.take_changes() == [*((number, f"changed {number}") for number in range(50)), (50, None)]
