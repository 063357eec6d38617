"""Metrics, the control panel and traces beside a kernel: they come with it, end with it, and are all there or nothing is."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.commands import ENVIRONMENT, REPOSITORY, ocap

HELLO = REPOSITORY / "examples/hello/hello.toml"


def enter(link: str) -> bool:
    """Whether a link lets its first user in."""
    base, _, code = link.partition("/#")
    with httpx.Client(base_url=base) as client:
        return client.post("/login", json={"code": code}, headers={"origin": base}).status_code == 200


def until_refused(base: str) -> None:
    for _ in range(200):
        try:
            httpx.get(base)
        except httpx.TransportError:
            return
        time.sleep(0.1)
    pytest.fail(f"somebody still listens at {base}")


def started(folder: Path, *options: str) -> dict[str, str]:
    done = ocap("start", folder / "c.toml", "--db", folder / "k.db", *options, "--json")
    assert (0, "") == (done.returncode, done.stderr)
    found = json.loads(done.stdout)
    assert ({"c": "ok"}, {}) == (found["launched"], found["failed"])
    return {name: found[name] for name in ("metrics", "panel") if name in found}


def test_daemon_has_a_panel_and_metrics_and_says_where(folder: Path) -> None:
    found = started(folder, "--panel", "--metrics", "0")
    status = json.loads(ocap("status", "--json").stdout)
    base = found["panel"].partition("/#")[0]
    assert (found["metrics"], base) == (status["metrics"], status["panel"])
    assert "ocap_cranks_total" in httpx.get(found["metrics"]).text
    assert found["panel"] == ocap("panel").stdout.strip()
    assert enter(found["panel"])
    for _ in range(100):
        if (link := ocap("panel").stdout.strip()) != found["panel"]:
            break
        time.sleep(0.1)
    assert base == link.partition("/#")[0]
    assert not enter(found["panel"])  # it was used
    assert enter(link)
    text = ocap("status").stdout
    assert f"panel         {base} (`ocap panel` prints a link)\nmetrics       {found['metrics']}\n" in text
    ocap("stop")
    until_refused(base)
    until_refused(found["metrics"])
    assert found["panel"].partition("#")[2] not in (folder / "k.db.log").read_text()


def test_panel_ends_with_a_daemon_that_was_killed(folder: Path) -> None:
    base = started(folder, "--panel")["panel"].partition("/#")[0]
    os.kill(json.loads(ocap("status", "--json").stdout)["pid"], signal.SIGKILL)
    until_refused(base)


@pytest.mark.parametrize(
    ("options", "what"), [(["--metrics"], "metrics"), (["--panel", "--panel-port"], "control panel")]
)
@pytest.mark.parametrize("command", ["run", "start"])
def test_port_that_is_taken_starts_nothing(folder: Path, command: str, options: list[str], what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = ocap(command, folder / "c.toml", "--db", folder / "k.db", *options, str(port))
    assert (2, "") == (done.returncode, done.stdout)
    assert f"ocap: {what}: port {port}: address already in use\n" == done.stderr
    assert not (folder / "k.db").exists()


def test_port_without_a_panel_is_refused(folder: Path) -> None:
    done = ocap("start", folder / "c.toml", "--db", folder / "k.db", "--panel-port", "0")
    assert (2, "ocap: --panel-port: there is no panel without --panel\n") == (done.returncode, done.stderr)


# ---- traces ---------------------------------------------------------------------------------------


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """Takes traces by OTLP over HTTP."""
    taken: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest()
            request.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
            taken.append(request)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", taken
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("command", ["run", "start"])
def test_traces_go_where_the_environment_says(folder: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as (address, taken):
        monkeypatch.setitem(ENVIRONMENT, "OTEL_EXPORTER_OTLP_ENDPOINT", address)
        done = ocap(command, folder / "c.toml", "--db", folder / "k.db", "--otel")
        assert ('c: "ok"\n', "", 0) == (done.stdout, done.stderr, done.returncode)
        if command == "start":
            ocap("stop")
    resources = [resource for request in taken for resource in request.resource_spans]
    services = {
        it.value.string_value for one in resources for it in one.resource.attributes if it.key == "service.name"
    }
    assert {"ocap"} == services
    names = {span.name for resource in resources for scope in resource.scope_spans for span in scope.spans}
    assert {"a start", "b start", "a bootstrap"} <= names


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "OTEL_TRACES_EXPORTER",
            "pigeon",
            "OTEL_TRACES_EXPORTER: no exporter pigeon is installed; there are: console, ",
        ),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "pigeon",
            "OTEL_EXPORTER_OTLP_PROTOCOL: pigeon: is none of http/protobuf, grpc",
        ),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "OTEL_*: max_queue_size must be a positive integer."),
    ],
)
def test_bad_variable_for_traces_starts_nothing(
    folder: Path, variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, variable, value)
    done = ocap("start", folder / "c.toml", "--db", folder / "k.db", "--otel")
    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"ocap: {message}")
    assert not (folder / "k.db").exists()


# ---- what is not installed ------------------------------------------------------------------------


def without(missing: str, code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run code where a package is not installed."""
    command = [sys.executable, "-c", f"import sys; sys.modules[{missing!r}] = None; {code}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT)


@pytest.mark.parametrize(
    ("missing", "arguments", "line"),
    [
        ("opentelemetry", ["run", HELLO, "--otel"], "traces for OpenTelemetry need opentelemetry"),
        ("starlette", ["run", HELLO, "--panel"], "the control panel needs starlette"),
        ("tomli_w", ["start", HELLO, "--db", "x.db", "--panel"], "the control panel needs tomli_w"),
        ("prometheus_client", ["run", HELLO, "--metrics", "0"], "metrics need prometheus_client"),
    ],
)
def test_option_without_its_extra_says_what_to_install(missing: str, arguments: list[str], line: str) -> None:
    done = without(missing, "from ocap.__main__ import main; sys.exit(main())", *arguments)
    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"ocap: {line}, which is not installed; the extra ocap[")
    assert 1 == done.stderr.count("\n")


@pytest.mark.parametrize(
    ("missing", "module", "extra"),
    [
        ("opentelemetry", "ocap.otel", "otel"),
        ("hypercorn", "ocap.metrics", "metrics"),
        ("jinja2", "ocap.panel", "panel"),
        ("rich", "ocap.cli", "cli"),
    ],
)
def test_import_without_its_extra_says_what_to_install(missing: str, module: str, extra: str) -> None:
    done = without(missing, f"import {module}")
    assert 1 == done.returncode
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ocap.extras.MissingExtraError: ")
    assert last.endswith(
        f" {missing}, which is not installed; the extra ocap[{extra}] brings it: pip install '.[{extra}]' in the source's folder"
    )
