"""How long anything has been there is known from the store, over restarts, whatever the clock does."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocap.store.marks import MARKS, SPACING, Age, Kind, Marks, span, thinned
from ocap.store.sqlite import SqliteBackend, open_read_only
from ocap.verify import verify_connection

HOUR = 3600.0


class Run:
    """A store whose clock is set by hand, and what gives numbers."""

    def __init__(self, path: Path | None = None, now: float = 1_000_000_000.0) -> None:
        self.path = path
        self.now = now
        self.given = {"crank": 1, "promise": 1, "queue": 1}
        self.backend = SqliteBackend(path, "none", clock=self.clock)

    def clock(self) -> float:
        return self.now

    def give(self, after: float = 0.0, *, promises: int = 1) -> int:
        """Some time later, commit a crank that makes promises; the number of the last."""
        self.now += after
        self.given = {kind: number + (promises if kind == "promise" else 1) for kind, number in self.given.items()}
        self.backend.write({"counters": [*self.given.items(), ("object", 7)]})
        self.backend.commit()
        return self.given["promise"] - 1

    def restart(self) -> None:
        self.backend.close()
        self.backend = SqliteBackend(self.path, "none", clock=self.clock)
        self.given |= {kind: self.backend.load_counters()[kind] for kind in self.given}

    def marks(self) -> Marks:
        return Marks.read(self.backend.connection, self.clock)

    def age(self, number: int) -> Age:
        return self.marks().age("promise", number)

    def times(self) -> list[int]:
        return [row[0] for row in self.backend.connection.execute("SELECT time FROM marks ORDER BY time")]

    def close(self) -> None:
        # A store without vats and promises, but with counters: the rules of these hold.
        assert [] == [it for it in verify_connection(self.backend.connection) if it.rule in ("V15", "V19")]
        self.backend.close()


@pytest.fixture
def run() -> Any:
    found = Run()
    yield found
    found.close()


def test_age_counts_from_the_commit(run: Run) -> None:
    first, second = run.give(5.0), run.give(10.0)
    run.now += 20.0
    assert [Age(30.0), Age(20.0)] == [run.age(first), run.age(second)]


def test_what_is_not_committed_yet_has_no_age(run: Run) -> None:
    last = run.give(5.0)
    run.now += 20.0
    assert Age(0.0) == run.age(last + 1)


def test_every_number_that_is_marked_has_an_age(run: Run) -> None:
    run.give(5.0, promises=7)
    run.now += 60.0
    given: list[tuple[Kind, int]] = [("crank", 1), ("promise", 7), ("queue", 1)]
    assert [Age(60.0)] * 3 == [run.marks().age(kind, number) for kind, number in given]


def test_what_came_before_a_long_rest_is_old(run: Run) -> None:
    """Though the commit before the rest came too soon after another to be a mark of its own."""
    run.give(5.0)
    late = run.give(0.03)
    new = run.give(3 * HOUR)
    assert [Age(3 * HOUR), Age(0.0)] == [run.age(late), run.age(new)]


def test_ages_go_on_over_a_restart(tmp_path: Path) -> None:
    run = Run(tmp_path / "k.db")
    numbers = [run.give(1.0), run.give(0.01)]
    run.now += HOUR - 0.01
    run.restart()
    numbers.append(run.give(HOUR))
    run.restart()
    assert [Age(2 * HOUR), Age(2 * HOUR - 0.01), Age(0.0)] == [run.age(number) for number in numbers]
    db = open_read_only(run.path or "")
    assert Age(2 * HOUR) == Marks.read(db, run.clock).age("promise", numbers[0])
    db.close()
    run.close()


def test_what_was_not_committed_leaves_no_mark(tmp_path: Path) -> None:
    run = Run(tmp_path / "k.db")
    kept = run.give(1.0)
    run.now += 1.0
    run.backend.write({"counters": [("promise", 100)]})
    run.restart()
    assert kept == run.given["promise"] - 1
    assert [Age(1.0), Age(0.0)] == [run.age(kept), run.age(kept + 1)]
    run.close()


def test_a_store_that_had_none_says_at_least(tmp_path: Path) -> None:
    run = Run(tmp_path / "k.db")
    old = run.give(1.0)
    for _ in run.backend.connection.execute("DELETE FROM marks; DELETE FROM counters WHERE kind IN ('time', 'ahead')"):
        pass
    run.now += HOUR
    run.restart()
    new = run.give(HOUR)
    run.now += HOUR
    assert [Age(2 * HOUR, is_known=False), Age(HOUR)] == [run.age(old), run.age(new)]
    run.close()


def test_a_clock_set_back_makes_no_age_negative_and_stops_none(run: Run) -> None:
    before = run.give(1.0)
    run.now += HOUR
    after = run.give(-24 * HOUR)  # the clock was wrong by more than a day
    assert [0.0, 0.0] == [run.age(before).seconds, run.age(after).seconds]
    run.now += 2 * HOUR
    assert [Age(2 * HOUR), Age(2 * HOUR)] == [run.age(before), run.age(after)]
    last = run.give(HOUR)
    run.now -= 5.0
    assert [Age(3 * HOUR), Age(0.0)] == [run.age(after), run.age(last)]


def test_a_clock_set_back_for_a_reader_is_a_clock_that_stands_still(run: Run) -> None:
    first = run.give(1.0)
    run.give(10.0)
    run.now -= HOUR
    assert Age(10.0) == run.age(first)


@given(st.lists(st.tuples(st.floats(-1000, 1000), st.integers(0, 3)), min_size=1, max_size=60))
def test_the_older_is_never_younger(steps: list[tuple[float, int]]) -> None:
    run = Run()
    for after, promises in steps:
        run.give(after, promises=promises)
    run.now += 1.0
    marks = run.marks()
    ages = [marks.age("promise", number).seconds for number in range(1, run.given["promise"] + 1)]
    assert sorted(ages, reverse=True) == ages
    assert ages[-1] >= 0
    run.close()


def test_marks_are_bounded_and_an_age_is_known_to_two_parts_in_a_hundred() -> None:
    """A hundred years, the steps of a kernel that is at work now and then."""
    lots = random.Random(3)
    run = Run()
    born: list[float] = []
    most = 0
    for turn in range(30_000):
        run.give(lots.choice((0.01, 0.05, 0.3, 2.0)) if turn % 3000 else 3.3 * 365 * 24 * HOUR)
        born.append(run.now)
        if turn % 1000 == 999:
            most = max(most, len(run.times()))
            marks = run.marks()
            for number in lots.sample(range(1, len(born) + 1), 200):
                exact, found = run.now - born[number - 1], marks.age("promise", number)
                assert found.is_known
                assert exact - max(SPACING / 1000, 0.02 * exact) - 0.002 <= found.seconds <= exact + 0.002
    assert 3000 < most <= MARKS
    run.close()


def test_thinning_keeps_the_oldest_and_the_newest() -> None:
    assert {1, 1000} == thinned([1, 2, 3, 1000], 10_000_000)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0 s"), (12.3, "12 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_an_age_is_said_in_the_largest_unit_of_which_there_are_two(seconds: float, text: str) -> None:
    assert text == span(seconds) == str(Age(seconds))
    assert f"over {text}" == str(Age(seconds, is_known=False))
