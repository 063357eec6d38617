"""Rates and latencies are those of what happened between two samples."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocap.panel.rates import ENOUGH, LATELY, Sample, Spending, latency, quantile, rate, sample_of
from ocap.ring.tally import SECONDS, Histogram


def told(cranks: int, took: Histogram) -> dict[str, Any]:
    """As the daemon says it."""
    classes = {"bounds": list(SECONDS), "counts": list(took.counts)}
    return {"cranks": cranks, "commits": 1, "run_queue": 0, "crank_seconds": classes}


def samples(*seconds: list[float]) -> list[Sample]:
    """A sample before anything, and one after each second with cranks that took so long."""
    took, found, cranks = Histogram(), [], 0
    found.append(sample_of(0.0, told(0, took)))
    for number, its in enumerate(seconds, 1):
        for one in its:
            took.add(one)
        cranks += len(its)
        found.append(sample_of(float(number), told(cranks, took)))
    return found


def test_rate_is_what_was_counted_in_a_second() -> None:
    found = samples([0.001] * 10, [], [0.001] * 5)
    assert [(1.0, 10.0), (2.0, 0.0), (3.0, 5.0)] == rate(found, lambda it: it.cranks)


def test_counters_that_begin_anew_leave_a_gap() -> None:
    before, after = samples([0.001] * 10)[1], samples([0.5] * 3)
    assert [(1.0, 3.0)] == rate([before, *after], lambda it: it.cranks)
    assert [1.0] == [at for at, _ in latency([before, *after], 0.5)]


def test_latency_is_of_the_second_and_not_of_all_before() -> None:
    found = samples([0.00015] * 1000, [0.4] * 10, [])
    (_, first), (_, second) = latency(found, 0.5)
    assert 0.0001 < first <= 0.0002
    assert 0.2 < second <= 0.5


def test_few_slow_cranks_are_seen_in_the_99th_percentile_alone() -> None:
    found = samples([0.00015] * 980 + [0.8] * 20)
    assert latency(found, 0.5)[0][1] <= 0.0002
    assert 0.5 < latency(found, 0.99)[0][1] <= 1.0


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50), st.sampled_from([0.1, 0.5, 0.99]))
def test_quantile_is_in_the_class_of_the_true_one(seconds: list[float], part: float) -> None:
    took = Histogram()
    for one in seconds:
        took.add(one)
    true = sorted(seconds)[math.ceil(part * len(seconds)) - 1]
    found = quantile(SECONDS, took.counts, part)
    above = min((bound for bound in SECONDS if bound >= true), default=SECONDS[-1])
    below = max((bound for bound in SECONDS if bound < true), default=0.0)
    assert below <= found <= above


def test_beyond_the_last_class_its_bound_is_told() -> None:
    assert SECONDS[-1] == quantile(SECONDS, samples([60.0])[1].took, 0.5)


@pytest.mark.parametrize("part", [0.5, 0.99])
def test_seconds_without_cranks_have_no_latency(part: float) -> None:
    assert [] == latency(samples([], []), part)


def test_share_of_a_vat_is_of_the_last_minute() -> None:
    spending = Spending()
    for at, since, seconds, expected in [
        (0.0, 5.0, 1.0, None),
        (0.1, 5.0, 1.1, None),  # of so short a time it says nothing
        (2.0, 5.0, 1.5, 0.25),
        (62.0, 5.0, 1.5, 0.0),
        (63.0, 9.0, 0.5, None),  # by another kernel, which counts anew
        (64.0, 9.0, 1.0, 0.5),
    ]:
        spending.note(at, {"since": since, "seconds": {"v1": seconds}})
        assert (seconds, expected) == spending.of("v1")
    assert (0.0, None) == spending.of("v2")


def test_times_of_a_minute_are_kept_however_often_they_are_told() -> None:
    spending = Spending()
    for number in range(10_000):
        spending.note(number / 50, {"since": 5.0, "seconds": {"v1": number / 100}})
    seconds, share = spending.of("v1")
    assert 99.99 == seconds
    assert share == pytest.approx(0.5)
    assert len(spending._told) <= LATELY / ENOUGH + 2
