"""What a hostile vat says is inert wherever it is shown: on a terminal, in logs, pictures, metrics, traces, and in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx
import pexpect
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from ocap import E, Kernel, load_toml
from ocap.legible import safe_text
from ocap.otel import Tracing
from ocap.verify import verify
from tests.commands import ENVIRONMENT, OCAP, ocap, ocap_here
from tests.panel.browsing import Browser, browsing
from tests.panel.hostile import HOSTILE, METHOD, TOML, VAT, unsafe

PAGES = [
    "/", "/subclusters", "/subclusters/s1", "/subclusters/s1/update", "/subclusters/s2/terminate", "/vats", "/vats/v1", "/vats/v1/upgrade",
    "/vats/v3/terminate", "/objects", "/graph", "/promises", "/send", "/traffic", "/dead-letters", "/store", "/store/vats", "/store/subclusters",
    "/store/promises", "/store/vatstore", "/store/queue", "/store/dead_letters",
]  # fmt: skip


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, runtime: Path) -> Iterator[Path]:
    """A folder with a daemon of three subclusters that did their worst."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "hostile.py").write_text(VAT)
    (folder / "c.toml").write_text(TOML)
    db = folder / "k.db"
    started = ocap("start", folder / "c.toml", "--db", db, "--log-json", folder / "log.jsonl", "--metrics", "0")
    assert 0 == started.returncode, started.stderr
    assert [] == unsafe(started.stdout + started.stderr)
    for root, method, *values in [
        ("s1", "talk"),
        ("s1", "takes", json.dumps(HOSTILE)),
        ("s1", "fail"),
        ("s1", "fail_oddly"),
        ("s1", METHOD, json.dumps(HOSTILE)),
        ("s1", "calls_nothing"),
        ("s1", HOSTILE),
        ("s2", "flood", json.dumps(HOSTILE)),
        ("s3", "leave"),
        (HOSTILE, "nothing"),
    ]:
        done = ocap_here("send", root, method, *values, "--db", db, cwd=folder)
        assert [] == unsafe(done.stdout + done.stderr), method
    yield folder
    ocap("stop", "--db", db)
    assert [] == verify(db)


COMMANDS = [
    ["status"], ["list"], ["show", "s1"], ["show", "v1"], ["dead-letters"], ["ping", "v1"], ["restart", "s1"], ["suspend", "v3"], ["resume", "v3"],
    ["launch", "c.toml"], ["update", "s1", "c.toml"], ["terminate", HOSTILE], ["upgrade", "v1", HOSTILE], ["show", HOSTILE],
]  # fmt: skip
OF_FILES = [
    ["log", "log.jsonl"], ["log", "log.jsonl", "--times"], ["log", "log.jsonl", "--why", "5"], ["log", "log.jsonl", "--diagram", "mermaid"],
    ["log", "log.jsonl", "--vat", HOSTILE], ["why", "k.db", "ko2"], ["why", "k.db", HOSTILE], ["verify", "k.db"],
]  # fmt: skip


@pytest.mark.parametrize(
    "arguments", [*COMMANDS, *OF_FILES], ids=lambda it: " ".join(it)[:30].encode("ascii", "replace").decode()
)
def test_command_shows_it_inert(daemon: Path, arguments: list[str]) -> None:
    more = ["--db", str(daemon / "k.db")] if arguments in COMMANDS else []
    done = ocap_here(*arguments, *more, cwd=daemon)
    assert [] == unsafe(done.stdout + done.stderr)
    assert done.stdout + done.stderr
    assert not re.search(r"^12<7 ", done.stdout, re.MULTILINE)
    assert not re.search(r"^(Traceback|forged)", done.stderr + done.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", ["list", "dead-letters", "show s1"])
def test_terminal_gets_only_the_colours_of_the_table(daemon: Path, command: str) -> None:
    line = [*OCAP[1:], *command.split(), "--db", str(daemon / "k.db")]
    shown = _at_terminal(line)
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown.replace("\r\n", "\n"))
    assert [] == unsafe(plain)
    assert "owned" in plain


def _at_terminal(arguments: list[str]) -> str:
    child = pexpect.spawn(OCAP[0], arguments, env=ENVIRONMENT, timeout=30, encoding="utf-8", dimensions=(50, 200))
    child.expect(pexpect.EOF)
    shown = child.before
    assert isinstance(shown, str)
    return shown


def test_logs_hold_whole_lines_and_no_others(daemon: Path) -> None:
    own = (daemon / "k.db.log").read_text()
    assert [] == unsafe(own)
    assert [] == [line for line in own.splitlines() if not re.match(r"\d{4}-|    ", line)]
    lines = (daemon / "log.jsonl").read_bytes().split(b"\n")[:-1]
    assert all(line.isascii() and "crank" in json.loads(line) for line in lines)
    assert any(HOSTILE in (json.loads(line)["text"] or "") for line in lines)  # the whole of it is there


def test_picture_is_one_document_of_known_parts(daemon: Path) -> None:
    done = ocap_here("log", "log.jsonl", "--diagram", "svg", cwd=daemon)
    found = {it.tag.rpartition("}")[2] for it in ET.fromstring(done.stdout).iter()}
    assert found <= {"svg", "style", "g", "rect", "line", "path", "text", "title", "circle"}
    assert [] == unsafe(done.stdout)


def test_metrics_are_what_the_kernel_says(daemon: Path) -> None:
    address = json.loads(ocap_here("status", "--json", "--db", daemon / "k.db", cwd=daemon).stdout)["metrics"]
    text = httpx.get(address, timeout=30).text
    families = list(text_string_to_metric_families(text))
    assert {"ocap"} == {it.name.partition("_")[0] for it in families}
    names = {it.labels["name"] for family in families for it in family.samples if it.name == "ocap_vat_info"}
    assert safe_text(HOSTILE) in names  # it is a label, and nothing beside
    assert [] == unsafe(text)


async def test_traces_are_inert_and_can_be_sent(tmp_path: Path) -> None:
    (tmp_path / "hostile.py").write_text(VAT)
    (tmp_path / "c.toml").write_text(TOML)
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with Kernel(tmp_path / "k.db") as kernel:
        tracing = Tracing(kernel.vat_name, provider, messages=True)
        kernel.observe(tracing)
        found = await kernel.launch_subcluster(load_toml(tmp_path / "c.toml")["plain"])
        for method in ("talk", "fail", "fail_oddly"):
            with suppress(Exception):
                await getattr(E(found.root), method)()
        odd = await E(found.root).takes()
        assert [] == unsafe(repr(odd))
        await kernel.idle()
        tracing.flush()
    spans = exporter.get_finished_spans()
    assert any("owned" in str(event.attributes) for span in spans for event in span.events)
    for span in spans:
        texts = [span.name, span.status.description or "", *map(str, (span.attributes or {}).values())]
        texts += [str(value) for event in span.events for value in (event.attributes or {}).values()]
        for text in texts:
            assert [] == unsafe(text)
            text.encode()  # as exporters do
    assert [] == verify(tmp_path / "k.db")


# ---- in a real browser ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(daemon: Path, browser_files: tuple[str, str]) -> Iterator[Browser]:
    with browsing(daemon, browser_files) as it:
        yield it


@pytest.mark.parametrize("page", PAGES)
def test_page_shows_it_as_text(browser: Browser, page: str) -> None:
    browser.go(page)
    browser.until(lambda: browser.text("body"))
    source = browser.driver.page_source
    assert browser.driver.execute_script("return window.owned") is None
    # What is not a space for the eye: the document's own lines may be set in.
    assert [] == unsafe(source.replace("\t", " "))
    assert 0 == browser.driver.execute_script(
        "return document.querySelectorAll('script:not([src]), img:not(#diagram), [onload], [onerror]').length"
    )


def test_answer_of_a_vat_is_text_too(browser: Browser) -> None:
    browser.go("/send")
    browser.fill("target", "s1")
    for method, kind in (("fail", "error"), ("takes", "done")):
        browser.fill("method", method)
        browser.find("form[data-post='/do/send'] button").click()
        browser.until(partial(browser.text, f".said.{kind}"))
        assert [] == unsafe(browser.driver.execute_script("return document.querySelector('.said').textContent"))
        assert browser.driver.execute_script("return window.owned") is None


def test_live_lines_and_their_picture_are_inert(browser: Browser, daemon: Path) -> None:
    browser.go("/traffic")
    browser.until(lambda: browser.driver.execute_script("return document.getElementById('lines') !== null"))
    ocap_here("send", "s1", "talk", "--db", daemon / "k.db", cwd=daemon)
    browser.until(lambda: "owned" in browser.text("#lines"))
    assert [] == unsafe(
        browser.driver.execute_script("return document.getElementById('lines').textContent.replace(/\\s/g, ' ')")
    )
    browser.go("/traffic/diagram.svg")  # as a document of its own, where scripts would run
    assert browser.driver.execute_script("return window.owned") is None
    assert 0 == browser.driver.execute_script(
        "return document.querySelectorAll('script, image, foreignObject, a').length"
    )
