"""Why a crank happened."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from ocap.log import Entry, from_json_line
from ocap.log.chain import NoSuchCrankError, chain_to
from tests.commands import ocap
from tests.log.made import entry, message, settled

FORWARD = {"promise": "kp1", "to": "kp2"}


def led_to(crank: int, log: list[Entry]) -> list[Entry]:
    return chain_to(crank, lambda: log).entries


def short(entries: Iterable[Entry]) -> list[str]:
    """Each entry in a few words."""
    found = []
    for it in entries:
        ours = it.kernel or {}
        what = [one["promise"] for one in it.settlements()] or [ours.get("method") or ours.get("promise")]
        found.append(f"{it.crank} {it.vat} {it.op} {what[0]}")
    return found


def test_every_chain_begins_at_the_host_and_ends_at_its_crank(exchange: list[Entry]) -> None:
    cranks = {it.crank for it in exchange} - {0}
    for crank in cranks:
        found = chain_to(crank, lambda: exchange)
        heads = {it.crank: it for it in found.entries if it.kind != "syscall"}
        assert (found.entries[0].cause, found.entries[-1].crank, found.missing) == (0, crank, [])
        assert {it.cause for it in heads.values()} <= {0, *heads}
        assert list(heads) == sorted(heads)


def test_each_step_names_what_was_asked(exchange: list[Entry]) -> None:
    crank = next(it.crank for it in exchange if it.op == "message" and (it.kernel or {})["method"] == "get_balance")
    steps = led_to(crank, exchange)
    assert [it.op for it in steps[-2:]] == ["send", "message"]
    assert all((a.kernel or {})["result"] == (b.kernel or {})["result"] for a, b in [steps[-2:]])


def test_message_of_the_host_is_the_beginning() -> None:
    log = [
        message(0, 0, "host", "greet", "kp1", "syscall"),
        message(0, 0, "host", "sign", "kp2", "syscall"),
        message(1, 0, "v1", "greet", "kp1"),
        message(2, 0, "v1", "sign", "kp2"),
        settled(2, 0, "v1", "kp2", kind="syscall"),
        settled(3, 2, "host", "kp2"),
    ]
    assert led_to(3, log) == log[1:2] + log[3:]


def test_notify_of_a_promise_that_had_settled_is_caused_by_the_subscription() -> None:
    subscribe = entry(1, 0, "syscall", op="subscribe", kernel={"promise": "kp1"}, vatside={"promise": "p-1"})
    log = [message(1, 0, "v1", "greet", None), subscribe, settled(2, 1, "v1", "kp1")]
    assert led_to(2, log) == log


def test_fault_has_a_cause() -> None:
    fields = message(2, 1, "v2", "greet", "kp1").kernel
    log = [
        message(1, 0, "v1", "bootstrap", None),
        message(1, 0, "v1", "greet", "kp1", "syscall"),
        entry(2, 1, "fault", "v2", op="message", kernel=fields, vatside=fields, text="too much"),
    ]
    assert led_to(2, log) == log


def test_where_crank_numbers_begin_anew_the_last_kernel_is_meant() -> None:
    first = [message(1, 0, "v1", "one", None), message(2, 1, "v1", "two", None)]
    second = [message(0, 0, "host", "uno", "kp1", "syscall"), message(1, 0, "v1", "uno", "kp1")]
    assert led_to(1, first + second) == second
    assert led_to(2, first + second) == first


def test_crank_that_is_not_there() -> None:
    for crank in (0, 9):
        with pytest.raises(NoSuchCrankError):
            chain_to(crank, lambda: [message(1, 0, "v1", "one", None)])


def test_causes_that_go_in_a_circle_end() -> None:
    log = [message(1, 2, "v1", "one", None), message(2, 1, "v1", "two", None)]
    assert [it.crank for it in led_to(2, log)] == [1, 2]


# ---- answers --------------------------------------------------------------------------------------


def test_answer_of_a_service_leads_on_to_the_message_it_answers() -> None:
    log = [
        message(0, 0, "host", "work", "kp1", "syscall"),
        message(1, 0, "v1", "work", "kp1"),
        message(1, 0, "v1", "integer", "kp2", "syscall"),
        message(2, 1, "host", "integer", "kp2"),
        settled(0, 0, "host", "kp9", kind="syscall"),  # of another call
        settled(0, 0, "host", "kp2", 6, "syscall"),
        settled(3, 0, "v1", "kp2", 6),
    ]
    found = chain_to(3, lambda: log)
    assert found.entries == log[:4] + log[5:]
    assert found.missing == []


def test_promise_that_another_message_settles_leads_to_both() -> None:
    log = [
        message(0, 0, "host", "take", "kp1", "syscall"),
        message(1, 0, "v1", "take", "kp1"),
        message(1, 0, "v1", "get", "kp2", "syscall"),
        message(2, 1, "v2", "get", "kp2"),
        message(0, 0, "host", "put", None, "syscall"),
        message(3, 0, "v2", "put", None),
        settled(3, 0, "v2", "kp2", 5, "syscall"),
        settled(4, 3, "v1", "kp2", 5),
    ]
    assert led_to(4, log) == log


def test_promise_that_follows_another_leads_to_who_settled_that() -> None:
    log = [
        message(0, 0, "host", "ask", "kp1", "syscall"),
        message(1, 0, "v1", "ask", "kp1"),
        message(1, 0, "v1", "get", "kp2", "syscall"),
        entry(1, 0, "syscall", "v1", op="forward", kernel=FORWARD, vatside=FORWARD),
        message(2, 1, "v2", "get", "kp2"),
        settled(0, 0, "host", "kp2", 5, "syscall"),
        settled(3, 0, "host", "kp1", 5),
    ]
    expected = ["0 host send ask", "1 v1 message ask", "1 v1 send get", "2 v2 message get"]
    expected += ["1 v1 forward kp1", "0 host resolve kp2", "3 host notify kp1"]
    assert short(led_to(3, log)) == expected


def test_answer_that_the_kernel_gave_leads_to_who_sent_the_message() -> None:
    log = [
        message(0, 0, "host", "work", None, "syscall"),
        message(1, 0, "v1", "work", None),
        message(1, 0, "v1", "greet", "kp2", "syscall"),
        entry(2, 1, "note", None, text="greet to ko9 could not be delivered"),
        settled(3, 2, "v1", "kp2"),
        message(4, 0, "v1", "other", None),
        settled(5, 0, "v1", "kp2"),  # as when the host program ended: nobody's crank settled it
    ]
    assert [it.crank for it in led_to(3, log) if it.kind != "syscall"] == [1, 2, 3]
    assert short(led_to(5, log)) == ["0 host send work", "1 v1 message work", "5 v1 notify kp2"]


def test_what_a_log_that_begins_late_lacks_is_said() -> None:
    log = [
        message(8, 3, "v1", "greet", None),
        settled(0, 0, "host", "kp2", 6, "syscall"),
        settled(9, 0, "v2", "kp2", 6),
        message(9, 0, "v2", "sign", None, "syscall"),
        message(10, 9, "v1", "sign", None),
    ]
    assert chain_to(8, lambda: log).missing == ["crank 3, which caused crank 8"]
    found = chain_to(10, lambda: log)
    assert short(found.entries)[:2] == ["0 host resolve kp2", "9 v2 notify kp2"]
    assert found.missing == ["the message that kp2 answers"]


VAT = """
from vats import E, Exo


class Root(Exo):
    async def bootstrap(self, vats: dict, services: dict):
        self.vats, self.services = vats, services
        now = await E(services["timer"]).now()
        await E(services["timer"]).set_wakeup(now + 0.1, self)

    async def wake(self, time: float):
        await E(self.vats["mailer"]).mail(await E(self.services["random"]).integer(6, 6))

    def mail(self, number: int):
        print("mail", number)


def build_root_object(powers, parameters, baggage):
    return Root()
"""
CLUSTER = """
[subclusters.a]
bootstrap = "a"
services = ["timer", "random", "log"]
vats.a.source = "a.py"
vats.mailer.source = "a.py"
"""


def test_mail_of_a_timers_beat_leads_through_both_services_to_the_bootstrap(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(VAT)
    (tmp_path / "a.toml").write_text(CLUSTER)
    done = ocap("run", tmp_path / "a.toml", "--log-json", tmp_path / "log.jsonl")
    assert (done.returncode, done.stdout) == (0, "a: null\n")
    log = [from_json_line(line) for line in (tmp_path / "log.jsonl").read_bytes().splitlines()]
    (mail,) = [it.crank for it in log if it.op == "message" and (it.kernel or {})["method"] == "mail"]
    found = chain_to(mail, lambda: log)
    assert found.missing == []
    messages = [(it.vat, it.kernel["method"]) for it in found.entries if it.op == "message" and it.kernel]
    assert messages == [
        ("v2", "bootstrap"),
        ("v1", "now"),
        ("host", "now"),
        ("v1", "set_wakeup"),
        ("host", "wake_at"),
        ("v2", "wake"),
        ("host", "integer"),
        ("v3", "mail"),
    ]
