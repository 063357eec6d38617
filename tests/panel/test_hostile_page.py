"""A hostile page in the operator's own browser, while the operator is logged in, changes nothing and reads nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.commands import ocap
from tests.panel.browsing import Browser, browsing_daemon

ATTACK = """
const [panel, done] = arguments;
const body = JSON.stringify({ what: "s1" });
const late = (make, milliseconds) => Promise.race([make(), new Promise((go) => setTimeout(() => go("nothing"), milliseconds))]);
const tried = async (make) => { try { return await late(make, 4000); } catch (error) { return "refused"; } };
const loaded = (kind, set) => () => new Promise((go) => {
  const it = document.createElement(kind);
  it.onload = () => go("loaded");
  it.onerror = () => go("refused");
  set(it);
  document.body.append(it);
});
const sent = (options) => () => fetch(`${panel}/do/terminate`, { method: "POST", body, credentials: "include", ...options })
  .then(async (answer) => answer.type === "opaque" ? "opaque" : `read ${answer.status} ${await answer.text()}`);
const form = (enctype) => () => new Promise((go) => {
  const frame = document.createElement("iframe");
  frame.name = `f${Math.random()}`;
  const it = document.createElement("form");
  Object.assign(it, { method: "post", action: `${panel}/do/terminate`, enctype, target: frame.name });
  const field = document.createElement("input");
  field.name = '{"what": "s1", "x": "';
  field.value = '"}';
  it.append(field);
  document.body.append(frame, it);
  frame.onload = () => { try { go(`read ${frame.contentDocument.body.innerText}`); } catch { go("unreadable"); } };
  it.submit();
});
(async () => done({
  simple: await tried(sent({ mode: "no-cors", headers: { "content-type": "text/plain" } })),
  json: await tried(sent({ headers: { "content-type": "application/json", "x-ocap-token": "x" } })),
  plain_form: await tried(form("text/plain")),
  multipart_form: await tried(form("multipart/form-data")),
  beacon: navigator.sendBeacon(`${panel}/do/terminate`, body) && "opaque",
  read: await tried(() => fetch(`${panel}/`, { credentials: "include" }).then((it) => it.text()).then((it) => `read ${it}`)),
  blind_read: await tried(() => fetch(`${panel}/`, { mode: "no-cors", credentials: "include" }).then((it) => it.type)),
  events: await tried(() => new Promise((go) => {
    const it = new EventSource(`${panel}/events`, { withCredentials: true });
    it.onopen = it.onmessage = () => go("read");
    it.onerror = () => { it.close(); go("refused"); };
  })),
  socket: await tried(() => new Promise((go) => {
    const it = new WebSocket(panel.replace("http", "ws") + "/events");
    it.onopen = () => go("read");
    it.onerror = () => go("refused");
  })),
  image: await tried(loaded("img", (it) => { it.src = `${panel}/traffic/diagram.svg`; })),
  icon: await tried(loaded("img", (it) => { it.src = `${panel}/static/icon.svg`; })),
  script: await tried(loaded("script", (it) => { it.src = `${panel}/static/panel.js`; })),
  style: await tried(loaded("link", (it) => { it.rel = "stylesheet"; it.href = `${panel}/static/panel.css`; })),
  frame: await tried(() => new Promise((go) => {
    const it = document.createElement("iframe");
    it.src = `${panel}/subclusters/s1/terminate`;
    it.id = "frame";
    it.onload = () => { try { go(`read ${it.contentDocument.body.innerText}`); } catch { go("unreadable"); } };
    document.body.append(it);
  })),
  window: await tried(async () => {
    const it = window.open(`${panel}/`);
    await new Promise((go) => setTimeout(go, 1000));
    try { return `read ${it.document.body.innerText}`; } catch { return "unreadable"; } finally { it && it.close(); }
  }),
}))();
"""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.cookies.append(self.headers.get("Cookie", ""))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>a nice page</title><body>nothing to see")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the library
        pass


@pytest.fixture(scope="module")
def attacker() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    server.cookies = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser(
    browser_files: tuple[str, str], tmp_path_factory: pytest.TempPathFactory, runtime: Path
) -> Iterator[Browser]:
    flag = "--host-resolver-rules=MAP *.example 127.0.0.1"
    with browsing_daemon(tmp_path_factory.mktemp("page"), browser_files, flag) as it:
        it.driver.set_script_timeout(90)
        yield it


# Of another site; and of another port of this host, which browsers take for the same site: the cookie is sent along.
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1"])
def test_page_elsewhere_neither_changes_nor_reads(browser: Browser, attacker: ThreadingHTTPServer, host: str) -> None:
    browser.driver.get(f"http://{host}:{attacker.server_port}/")
    found: dict[str, str] = browser.driver.execute_async_script(ATTACK, browser.base)
    assert 15 == len(found)
    assert {} == {name: it for name, it in found.items() if it not in ("refused", "opaque", "unreadable", "nothing")}
    for name in ("json", "read", "events", "socket", "image", "icon", "script", "style"):
        assert "refused" == found[name], name
    browser.driver.switch_to.frame("frame")
    assert "Terminate" not in browser.text("body")
    browser.driver.switch_to.default_content()
    listed = ocap("list", "--db", browser.folder / "k.db").stdout
    assert "first" in listed
    assert "terminated" not in listed
    browser.go("/")  # and the operator is still there
    browser.until_shown("Overview", "h1")


def test_name_that_was_rebound_to_the_panel_is_refused(browser: Browser) -> None:
    port = browser.base.rpartition(":")[2]
    browser.driver.get(f"http://evil.example:{port}/")
    assert "this is a panel on the loopback" in browser.text("body")
    answer = browser.driver.execute_async_script(
        "const done = arguments[0]; fetch('/do/terminate', { method: 'POST', body: '{\"what\": \"s1\"}', "
        "headers: { 'content-type': 'application/json' } }).then((it) => done(it.status))"
    )
    assert 421 == answer


def test_cookie_that_another_port_was_sent_is_all_it_has(browser: Browser, attacker: ThreadingHTTPServer) -> None:
    """Ports do not part cookies. So it lets only its own user in, as the system tells, and has the port in its name."""
    browser.driver.get(f"http://127.0.0.1:{attacker.server_port}/")
    cookies: list[str] = attacker.cookies  # type: ignore[attr-defined]
    port = browser.base.rpartition(":")[2]
    assert any(f"ocap-session-{port}=" in cookie for cookie in cookies)
    assert "" == browser.driver.execute_script("return document.cookie")
