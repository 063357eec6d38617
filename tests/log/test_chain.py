"""Why a crank happened."""

from __future__ import annotations

from itertools import pairwise

import pytest

from ocap.log import Entry
from ocap.log.chain import NoSuchCrankError, chain_to
from tests.log.made import entry, message, settled


def test_every_chain_begins_at_the_host_and_ends_at_its_crank(exchange: list[Entry]) -> None:
    cranks = {it.crank for it in exchange} - {0}
    for crank in cranks:
        chain = chain_to(crank, lambda: exchange)
        assert (chain[0].cause, chain[-1].crank) == (0, crank)
        heads = [it for it in chain if it.kind != "syscall"]
        for before, after in pairwise(heads):
            assert after.cause == before.crank


def test_each_step_names_what_was_asked(exchange: list[Entry]) -> None:
    crank = next(it.crank for it in exchange if it.op == "message" and (it.kernel or {})["method"] == "get_balance")
    steps = chain_to(crank, lambda: exchange)
    assert [it.op for it in steps[-2:]] == ["send", "message"]
    assert all((a.kernel or {})["result"] == (b.kernel or {})["result"] for a, b in [steps[-2:]])
    assert len(steps) == 2 * len({it.crank for it in steps}) - 1


def test_message_of_the_host_is_the_beginning() -> None:
    log = [
        message(0, 0, "host", "greet", "kp1", "syscall"),
        message(0, 0, "host", "sign", "kp2", "syscall"),
        message(1, 0, "v1", "greet", "kp1"),
        message(2, 0, "v1", "sign", "kp2"),
        settled(2, 0, "v1", "kp2", kind="syscall"),
        settled(3, 2, "host", "kp2"),
    ]
    assert chain_to(3, lambda: log) == log[1:2] + log[3:]


def test_notify_of_a_promise_that_had_settled_is_caused_by_the_subscription() -> None:
    subscribe = entry(1, 0, "syscall", op="subscribe", kernel={"promise": "kp1"}, vatside={"promise": "p-1"})
    log = [message(1, 0, "v1", "greet", None), subscribe, settled(2, 1, "v1", "kp1")]
    assert chain_to(2, lambda: log) == log


def test_fault_has_a_cause() -> None:
    fields = message(2, 1, "v2", "greet", "p-1").vatside
    log = [
        message(1, 0, "v1", "bootstrap", None),
        message(1, 0, "v1", "greet", "kp1", "syscall"),
        entry(2, 1, "fault", "v2", op="message", vatside=fields, text="too much"),
    ]
    assert chain_to(2, lambda: log) == log


def test_where_crank_numbers_begin_anew_the_last_kernel_is_meant() -> None:
    first = [message(1, 0, "v1", "one", None), message(2, 1, "v1", "two", None)]
    second = [message(0, 0, "host", "uno", "kp1", "syscall"), message(1, 0, "v1", "uno", "kp1")]
    assert chain_to(1, lambda: first + second) == second
    assert chain_to(2, lambda: first + second) == first


def test_crank_that_is_not_there() -> None:
    for crank in (0, 9):
        with pytest.raises(NoSuchCrankError):
            chain_to(crank, lambda: [message(1, 0, "v1", "one", None)])


def test_causes_that_go_in_a_circle_end() -> None:
    log = [message(1, 2, "v1", "one", None), message(2, 1, "v1", "two", None)]
    assert [it.crank for it in chain_to(2, lambda: log)] == [1, 2]
