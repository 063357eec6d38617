"""The wall around the panel: every case of the threat model, over real sockets."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import socket
from functools import partial
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
import trio
from markupsafe import escape

from ocap import http_server
from ocap.legible import safe_text
from ocap.panel import access
from tests.daemon.serving import toml, until
from tests.panel.visiting import Visit, visiting
from tests.strangers import as_stranger, root

__all__ = ["root"]

PAGES = [
    "/", "/subclusters", "/subclusters/launch", "/subclusters/s1", "/subclusters/s1/update", "/subclusters/s1/terminate",
    "/vats", "/vats/v1", "/vats/v1/upgrade", "/vats/v1/restart", "/objects", "/objects/ko1", "/objects/ko1/revoke", "/graph",
    "/promises", "/promises/kp1", "/send", "/traffic", "/traffic/why/1", "/dead-letters", "/store", "/store/vats",
]  # fmt: skip
STATIC = ["/static/panel.css", "/static/panel.js", "/static/login.js", "/static/icon.svg"]
GUARDED = [*PAGES, "/traffic/diagram.svg"]


async def vats(visit: Visit) -> int:
    return len(visit.served.kernel.get_vats())


# ---- who asks -----------------------------------------------------------------------------------------


FOREIGN_HOSTS = [
    "evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.:{port}", "0.0.0.0:{port}",
    "127.0.0.1:{port}.evil.example", "[::1]", "127.1:{port}", "LOCALHOST:{port}@evil.example",
]  # fmt: skip


async def test_foreign_host_is_refused_before_routing(db: Path) -> None:
    async with visiting(db) as visit:
        for foreign in FOREIGN_HOSTS:
            host = foreign.format(port=visit.port)
            for path in ["/", "/static/panel.css", "/login", "/nope"]:
                answer = await visit.client.get(path, headers={"host": host})
                assert 421 == answer.status_code
            posted = await visit.client.post("/events", json={}, headers=visit.headers | {"host": host})
            assert 421 == posted.status_code


async def test_names_of_the_loopback_are_ours(db: Path) -> None:
    async with visiting(db) as visit:
        for name in ("127.0.0.1", "localhost", "[::1]"):
            answer = await visit.client.get("/", headers={"host": f"{name}:{visit.port}"})
            assert 200 == answer.status_code


async def test_missing_or_double_host_is_refused(db: Path) -> None:
    async with visiting(db) as visit:
        ours = f"Host: 127.0.0.1:{visit.port}\r\n".encode()
        for hosts in (b"", ours + b"Host: evil.example\r\n", ours + ours):
            answer = await visit.raw(b"GET /static/panel.css HTTP/1.1\r\n" + hosts + b"\r\n", 2)
            assert re.match(rb"HTTP/1.1 (400|421) ", answer), answer[:80]


FOREIGN_ORIGINS = [
    None, "null", "", "http://evil.example", "http://127.0.0.1", "https://127.0.0.1:{port}", "http://127.0.0.1:{port}.evil.example",
    "http://localhost:{port}",
]  # fmt: skip


async def test_post_without_our_origin_is_refused(db: Path) -> None:
    async with visiting(db) as visit:
        for origin in FOREIGN_ORIGINS:
            headers = visit.headers | {"origin": (origin or "").format(port=visit.port)}
            if origin is None:
                del headers["origin"]
            for path in ("/do/terminate", "/events", "/login", "/logout"):
                answer = await visit.client.post(path, json={"what": "s1", "code": visit.code}, headers=headers)
                assert 403 == answer.status_code
        assert 2 == await vats(visit)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "other"])
async def test_what_another_site_sends_is_refused(db: Path, site: str) -> None:
    async with visiting(db) as visit:
        headers = {"sec-fetch-site": site}
        assert 403 == (await visit.client.get("/", headers=headers)).status_code
        assert 403 == (await visit.client.post("/events", json={}, headers=visit.headers | headers)).status_code
        assert 403 == (await visit.client.get("/", headers={"origin": "http://evil.example"})).status_code


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/json+x"],
)
async def test_change_that_is_no_json_is_refused(db: Path, kind: str) -> None:
    async with visiting(db) as visit:
        headers = visit.headers | {"content-type": kind}
        answer = await visit.client.post("/do/terminate", content=b'{"what": "s1"}', headers=headers)
        assert 403 == answer.status_code
        assert 2 == await vats(visit)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_nothing_changes_but_by_post(db: Path, method: str) -> None:
    async with visiting(db) as visit:
        for path in ("/do/terminate?what=s1", "/logout", "/login", "/events"):
            answer = await visit.client.request(method, path, headers=visit.headers)
            assert 405 == answer.status_code
        assert 200 == (await visit.client.get("/")).status_code
        assert 2 == await vats(visit)


async def test_no_answer_lets_other_sites_read_it(db: Path) -> None:
    async with visiting(db) as visit:
        preflight = {"origin": "http://evil.example", "access-control-request-method": "POST"}
        answers = [await visit.client.options("/do/terminate", headers=preflight), await visit.client.get("/")]
        for answer in answers:
            assert [] == [name for name in answer.headers if name.startswith("access-control")]


async def test_websocket_is_refused(db: Path) -> None:
    async with visiting(db) as visit:
        upgrade = (
            f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{visit.port}\r\nCookie: {visit.cookie()}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert (await visit.raw(upgrade.encode(), 3)).startswith(b"HTTP/1.1 403 ")


async def test_http_2_is_not_spoken(db: Path) -> None:
    async with visiting(db) as visit:
        upgrade = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{visit.port}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        for data in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", upgrade.encode()):
            answer = await visit.raw(data, 2)
            assert b"ocap</h1>" not in answer
            assert b"Overview" not in answer


async def test_panel_listens_on_the_loopback_alone(db: Path) -> None:
    async with visiting(db) as visit:
        others = {str(it[4][0]) for it in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {
            "127.0.0.1"
        }
        for address in ("127.0.0.2", *others):
            with pytest.raises(OSError):
                await trio.open_tcp_stream(address, visit.port)


# ---- the session ------------------------------------------------------------------------------------------


async def test_pages_need_the_session(db: Path) -> None:
    async with visiting(db) as visit, httpx.AsyncClient(base_url=visit.base) as stranger:
        cookie = visit.client.cookies[visit.cookie_name]
        wrong = ["", cookie[:-1], cookie + "x", cookie.swapcase(), visit.token, '"', "a=b;" * 500]
        queries = [f"?token={visit.token}", f"?{visit.cookie_name}={cookie}", f"?code={visit.code}"]
        for path in GUARDED:
            assert 200 == (await visit.client.get(path)).status_code
            for query in ("", *queries):
                answer = await stranger.get(path + query)
                assert 401 == answer.status_code
                assert visit.token not in answer.text
        for value in wrong:
            assert 401 == (await stranger.get("/", headers={"cookie": f"{visit.cookie_name}={value}"})).status_code


async def test_change_needs_the_token_of_its_own_session(db: Path) -> None:
    async with visiting(db) as visit, httpx.AsyncClient(base_url=visit.base) as other:
        second = Visit(visit.served, visit.links, other)
        await second.login()
        assert visit.token != second.token
        cookie = visit.client.cookies[visit.cookie_name]
        for token in ("", visit.token[:-1], visit.token + "x", visit.token.swapcase(), second.token, cookie):
            headers = visit.headers | {"x-ocap-token": token}
            for path in ("/do/terminate", "/do/nope", "/events", "/logout"):
                answer = await visit.client.post(f"{path}?token={visit.token}", json={"what": "s1"}, headers=headers)
                assert 401 == answer.status_code
        assert 2 == await vats(visit)


async def test_code_works_once_and_nothing_like_it_does(db: Path) -> None:
    async with visiting(db) as visit, httpx.AsyncClient(base_url=visit.base) as stranger:
        used, fresh = visit.links[0].partition("#")[2], visit.code
        assert 2 == len(visit.links)  # a new one was printed when the first was used
        bodies: list[object] = [{"code": code} for code in (used, fresh[:-1], fresh + "x", "", None, 1, [fresh])]
        for body in [*bodies, {}, [], fresh]:
            answer = await stranger.post("/login", json=body, headers={"origin": visit.base})
            assert (401, None) == (answer.status_code, answer.headers.get("set-cookie"))
        assert 2 == len(visit.links)


async def test_session_ends_with_the_logout(db: Path) -> None:
    async with visiting(db) as visit:
        cookie = {"cookie": visit.cookie()}
        assert 200 == (await visit.client.post("/logout", json={}, headers=visit.headers)).status_code
        async with httpx.AsyncClient(base_url=visit.base) as replay:
            assert 401 == (await replay.get("/", headers=cookie)).status_code
            answer = await replay.post("/do/terminate", json={"what": "s1"}, headers=visit.headers | cookie)
            assert 401 == answer.status_code


async def test_so_many_sessions_and_the_oldest_goes(db: Path) -> None:
    async with visiting(db) as visit:
        for _ in range(access.MAX_SESSIONS):
            assert 200 == (await visit.client.get("/")).status_code
            async with httpx.AsyncClient(base_url=visit.base) as client:
                await Visit(visit.served, visit.links, client).login()
        assert 401 == (await visit.client.get("/")).status_code


async def test_cookie_is_strict_and_closed_to_scripts(db: Path) -> None:
    async with visiting(db) as visit:
        answer = await visit.client.post("/login", json={"code": visit.code}, headers={"origin": visit.base})
        parts = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
        assert {"httponly", "path=/", "samesite=strict"} == parts


def test_secrets_have_256_bits_and_are_not_shown() -> None:
    codes: list[str] = []
    session = access.Session()
    keeper = access.Doorkeeper(codes.append)
    assert {43} == {len(it) for it in (session.cookie, session.token, codes[0])}  # 32 bytes in base 64
    for thing in (session, keeper):
        assert session.token not in repr(thing)
        assert codes[0] not in repr(thing)
    assert 1000 == len({access.new_secret() for _ in range(1000)})


def test_every_secret_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each comparison goes through `compare_digest`: without it nobody is let in, and nothing else compares."""
    codes: list[str] = []
    keeper = access.Doorkeeper(codes.append)
    session = keeper.login(codes[0])
    assert session is not None
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(access, "compare_digest", lambda given, secret: compared.append((given, secret)))
    assert keeper.login(codes[-1]) is None
    assert keeper.session(session.cookie) is None
    assert [(codes[-1].encode(),) * 2, (session.cookie.encode(),) * 2] == compared
    source = files("ocap.panel").joinpath("access.py").read_text()
    assert [] == re.findall(r"(?:token|cookie|code) *[!=]= ", source)


async def test_two_panels_have_two_cookies(db: Path) -> None:
    """On one host browsers keep one cookie of a name, whatever the port."""
    async with visiting(db) as one, visiting(db.with_name("other.db")) as other:
        assert one.cookie_name != other.cookie_name
        both = {"cookie": f"{one.cookie()}; {other.cookie()}"}
        for visit in (one, other):
            async with httpx.AsyncClient(base_url=visit.base) as client:
                assert 200 == (await client.get("/", headers=both)).status_code
        async with httpx.AsyncClient(base_url=other.base) as client:
            assert 401 == (await client.get("/", headers={"cookie": one.cookie()})).status_code


@pytest.mark.usefixtures("root")
async def test_stolen_secrets_are_worth_nothing_to_another_user(db: Path) -> None:
    async with visiting(db) as visit:
        head = f"Host: 127.0.0.1:{visit.port}\r\nOrigin: {visit.base}\r\nCookie: {visit.cookie()}\r\nX-Ocap-Token: {visit.token}\r\nContent-Type: application/json\r\n"
        login, terminate = json.dumps({"code": visit.code}), json.dumps({"what": "s1"})
        requests = [f"GET / HTTP/1.1\r\n{head}\r\n"] + [
            f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}"
            for path, body in (("/login", login), ("/do/terminate", terminate), ("/events", "{}"))
        ]

        def ask(request: str) -> bytes:
            with socket.create_connection(("127.0.0.1", visit.port), timeout=5) as stream:
                stream.sendall(request.encode())
                return stream.recv(10_000)

        for request in requests:
            answer = await trio.to_thread.run_sync(as_stranger, partial(ask, request))
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert b"another user" in answer
        assert 2 == await vats(visit)
        assert 2 == len(visit.links)  # the code was not used
        assert (await trio.to_thread.run_sync(ask, requests[0])).startswith(b"HTTP/1.1 200 ")


async def test_secrets_are_in_no_file_nor_in_sight_of_others(db: Path) -> None:
    async with visiting(db) as visit:
        await visit.do("send", target="a", method="echo", args='["x"]')
        secrets = [visit.token, visit.client.cookies[visit.cookie_name], visit.code]
        seen = [path.read_bytes() for path in db.parent.iterdir() if path.is_file()]
        seen += [Path(f"/proc/{os.getpid()}/{name}").read_bytes() for name in ("cmdline", "environ")]
        for page in PAGES:
            answer = await visit.client.get(page)
            seen.append(re.sub(r'<meta name="token" content="[^"]+">', "", answer.text).encode())
        for text in seen:
            assert not any(secret.encode() in text for secret in secrets)


# ---- what is asked for ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/panel.css%00", "/static//panel.css", "//static/panel.css",
     "/static/..\\app.py", "/static/%5c..%5capp.py", "/static/", "/static/panel.css/", "/store/../vats", "/store/vats%22%3b--", "/store/sqlite_schema",
     "/vats/..", "/vats/v1/../..", "/etc/passwd", "/store/" + "x" * 1000, "/objects/ko1'--", "/do/../do/verify", "/subclusters/s1/nope"],
)  # fmt: skip
async def test_path_leads_nowhere_else(db: Path, path: str) -> None:
    async with visiting(db) as visit:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{visit.port}\r\nCookie: {visit.cookie()}\r\nConnection: close\r\n\r\n"
        answer = await visit.raw(request.encode(), 3)
        assert re.match(rb"HTTP/1.1 (404|400|307) ", answer), answer[:100]
        assert b"import" not in answer
        assert b"root:" not in answer


async def test_file_is_given_for_being_in_the_list_and_not_in_the_folder(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a link in the folder leads out of it, nor is a file there given that is not of the panel."""
    shutil.copytree(str(files("ocap.panel").joinpath("static")), db.with_name("static"))
    db.with_name("static").joinpath("passwd").symlink_to("/etc/passwd")
    db.with_name("static").joinpath("notes.css").write_text("mine")
    monkeypatch.setattr("ocap.panel.app.files", lambda _: db.parent)
    async with visiting(db) as visit:
        for name in ("passwd", "notes.css"):
            assert 404 == (await visit.client.get(f"/static/{name}")).status_code
        assert 200 == (await visit.client.get("/static/panel.css")).status_code


async def test_too_long_address_is_refused(db: Path) -> None:
    async with visiting(db) as visit:
        assert 414 == (await visit.client.get("/objects", params={"vat": "x" * 3000})).status_code
        answer = await visit.raw(b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n", 3)
        assert answer.startswith(b"HTTP/1.1 4") or answer == b""


async def test_every_answer_has_the_headers(db: Path) -> None:
    async with visiting(db) as visit, httpx.AsyncClient(base_url=visit.base) as stranger:
        answers = [
            await client.get(path) for path in [*GUARDED, *STATIC, "/nope"] for client in (visit.client, stranger)
        ]
        answers.append(await visit.client.post("/do/verify", json={}, headers=visit.headers))
        answers.append(await visit.client.get("/", headers={"host": "evil"}))
        for answer in answers:
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'"), answer.url
            assert "frame-ancestors 'none'" in policy
            assert "script-src 'self'" in policy or "script-src" not in policy
            assert "unsafe" not in policy or "diagram.svg" in str(answer.url)
            expected = {
                "x-content-type-options": "nosniff",
                "cache-control": "no-store",
                "referrer-policy": "no-referrer",
            }
            assert expected == {name: answer.headers[name] for name in expected}
            assert "server" not in answer.headers
            assert [] == [name for name in answer.headers if name.startswith("access-control")]


def test_scripts_never_make_html_of_text() -> None:
    scripts = [it for it in files("ocap.panel").joinpath("static").iterdir() if it.name.endswith(".js")]
    assert 2 <= len(scripts)
    making = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|setAttribute\(.on|createContextualFragment|srcdoc"
    assert {} == {it.name: found for it in scripts if (found := re.findall(making, it.read_text()))}


def test_templates_have_no_script_style_or_way_round_the_escapes() -> None:
    folder = files("ocap.panel").joinpath("templates")
    for template in folder.iterdir():
        text = template.read_text()
        assert re.findall(r"<script(?! src=)|<style|\sstyle=|\son\w+=|\|\s*safe|autoescape|javascript:", text) == [], (
            template.name
        )


HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\"'><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7777 * 7777 }}{% raw %}",
    "\u202eevil\u2066",
    "\x00\x1b[31m\x07\r\n",
    "]]>&lt;!--",
    "x" * 3000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_what_vats_say_is_inert_in_pages(db: Path, text: str) -> None:
    async with visiting(db, launched=False) as visit:
        name = json.dumps(text.replace("\x00", "\ufffd"))  # TOML has no NUL
        config = toml(name, f"word = {name}").replace("vats.b", f"vats.{name}")
        await visit.served.client.call("launch", text=config, folder=visit.served.folder)
        await visit.client.get("/traffic")
        await until(lambda: visit.served.tap._followers)
        for method in ("echo", text[:200]):
            await visit.do("send", target="a", method=method, args=json.dumps([text]))
        await trio.sleep(1)
        for page in [*GUARDED, "/store/subclusters", "/store/clist"]:
            answer = await visit.client.get(page)
            assert 200 == answer.status_code, page
            body = answer.text
            for bad in (
                "<script>alert",
                "<img src=x",
                "<svg/onload",
                'href="javascript',
                "\u202e",
                "\u2066",
                "\x00",
                "\x1b",
                "\x07",
            ):
                assert bad not in body, page
            assert "60481729" not in body
        if text.isprintable():
            shown = (await visit.client.get("/subclusters")).text
            assert str(escape(safe_text(text)))[:40] in shown


async def test_ten_megabytes_of_a_vat_are_cut(db: Path) -> None:
    async with visiting(db) as visit:
        await visit.client.get("/traffic")
        await until(lambda: visit.served.tap._followers)
        for name in ("x", "y", "z"):
            said = await visit.do("send", target="a", method="fill", args=json.dumps([name, 3_500_000]))
            assert "It answered:" == said["message"]
        refused = await visit.do("send", target="a", method="fill", args=json.dumps(["w", 10_000_000]))
        assert "are over the limit of 4194304" in refused["error"]
        assert len(refused["error"]) < 1000
        for page in ("/store/vatstore", "/store/promises", "/vats/v1", "/objects", "/traffic", "/traffic/diagram.svg"):
            assert len((await visit.client.get(page)).content) < 300_000


# ---- how much -------------------------------------------------------------------------------------------


async def test_large_body_is_refused_at_once(db: Path) -> None:
    async with visiting(db) as visit:
        head = f"POST /do/check HTTP/1.1\r\nHost: 127.0.0.1:{visit.port}\r\nOrigin: {visit.base}\r\nCookie: {visit.cookie()}\r\nX-Ocap-Token: {visit.token}\r\nContent-Type: application/json\r\n"
        declared = await visit.raw(f"{head}Content-Length: 100000000\r\n\r\n".encode() + b"x" * 1000, 3)
        assert declared.startswith(b"HTTP/1.1 413 ")
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        dribbled = await visit.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 40, 3)
        assert dribbled.startswith(b"HTTP/1.1 413 ")


async def test_slow_clients_are_let_go(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "IDLE_SECONDS", 0.5)
    monkeypatch.setattr(access, "BODY_SECONDS", 0.5)
    async with visiting(db) as visit:
        head = f"POST /do/check HTTP/1.1\r\nHost: 127.0.0.1:{visit.port}\r\nOrigin: {visit.base}\r\nCookie: {visit.cookie()}\r\nX-Ocap-Token: {visit.token}\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{{"
        for begun, expected in [(b"", b""), (b"GET / HT", b""), (head.encode(), b"HTTP/1.1 408 ")]:
            began = trio.current_time()
            answer = await visit.raw(begun, 5)
            assert answer.startswith(expected)
            assert trio.current_time() - began < 4


@pytest.mark.parametrize(
    "rest",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: +5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "X: a\r\n b\0c\r\n\r\n",
    ],
)
async def test_smuggled_or_broken_requests_change_nothing(db: Path, rest: str) -> None:
    async with visiting(db) as visit:
        head = f"POST /do/terminate HTTP/1.1\r\nHost: 127.0.0.1:{visit.port}\r\nOrigin: {visit.base}\r\nCookie: {visit.cookie()}\r\nX-Ocap-Token: {visit.token}\r\nContent-Type: application/json\r\n"
        answer = await visit.raw((head + rest).encode(), 2)
        assert answer == b"" or re.match(rb"HTTP/1.1 [45]\d\d ", answer), answer[:100]
        assert answer.count(b"HTTP/1.1 ") <= 1
        assert 200 == (await visit.client.get("/")).status_code
        assert 2 == await vats(visit)


async def test_so_many_streams_and_no_more(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocap.panel.app.STREAMS", 2)
    async with visiting(db) as visit:
        async with (
            visit.client.stream("POST", "/events", json={}, headers=visit.headers) as one,
            visit.client.stream("POST", "/events", json={}, headers=visit.headers) as two,
        ):
            assert [200, 200] == [one.status_code, two.status_code]
            third = await visit.client.post("/events", json={}, headers=visit.headers)
            assert 503 == third.status_code
        await trio.sleep(0.5)
        async with visit.client.stream("POST", "/events", json={}, headers=visit.headers) as again:
            assert 200 == again.status_code


async def test_compressed_body_is_not_opened(db: Path) -> None:
    async with visiting(db) as visit:
        bomb = gzip.compress(b'{"what": "s1"}' + b" " * 50_000_000)
        for coding in ("gzip", "deflate", "br", "gzip, gzip"):
            headers = visit.headers | {"content-encoding": coding}
            answer = await visit.client.post("/do/terminate", content=bomb, headers=headers)
            assert 400 == answer.status_code
        assert 2 == await vats(visit)


@pytest.mark.parametrize("body", [b"", b"[", b"[" * 100_000, b"1", b"null", b'{"since": "x"}', b'{"since": []}'])
async def test_bad_bodies_are_told_so(db: Path, body: bytes) -> None:
    async with visiting(db) as visit:
        for path in ("/do/terminate", "/events"):
            assert 400 == (await visit.client.post(path, content=body, headers=visit.headers)).status_code
        assert 401 == (await visit.client.post("/login", content=body, headers=visit.headers)).status_code
        assert 2 == await vats(visit)
