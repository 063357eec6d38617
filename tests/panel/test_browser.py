"""The panel in a real browser: launch, update, restart, reload, terminate, upgrade, send, follow the traffic."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.commands import ocap, start_ocap
from tests.daemon.serving import VAT, toml
from tests.panel.browsing import Browser, browsing_daemon


@pytest.fixture(scope="module")
def browser(
    browser_files: tuple[str, str], tmp_path_factory: pytest.TempPathFactory, runtime: Path
) -> Iterator[Browser]:
    with browsing_daemon(tmp_path_factory.mktemp("browser"), browser_files) as it:
        yield it
        complaints = [entry["message"] for entry in it.driver.get_log("browser")]  # type: ignore[no-untyped-call]  # of selenium
        assert [] == [text for text in complaints if "40" not in text]  # a refused form is told with its status


def listed() -> dict[str, dict[str, Any]]:
    return {it["name"]: it for it in json.loads(ocap("list", "--json").stdout)}


def test_launch_from_the_editor_with_validation(browser: Browser) -> None:
    browser.go("/subclusters")
    browser.follow("Launch…")
    browser.until_shown("If a launch fails nothing of it remains")
    browser.fill("text", toml("second").replace("vat.py", "nope.py"))
    browser.until_shown("nope.py: no such file", ".said.error")
    browser.fill("text", toml("second"))
    browser.until_shown("This can be launched", ".said.hint")
    browser.follow("Launch")
    browser.until_shown("second", "h1")
    assert '"ok"' in browser.text()
    assert {"first", "second"} <= listed().keys()


def test_update_says_what_it_will_do(browser: Browser) -> None:
    ocap("launch", write(browser, "third"))
    browser.go(f"/subclusters/{listed()['third']['id']}/update")
    assert "Vats that are in it no more are ended" in browser.text(".will")
    browser.fill("text", toml("third").replace("vats.b]", "vats.z]"))
    browser.until_shown("b: will be ended, with all it has stored", ".said.hint")
    assert "z: will be added" in browser.text("form .said")
    browser.follow("Update")
    browser.until_shown("z: added", "#notice.done")
    assert "Updated" in browser.text("#notice")
    assert {"a", "z"} == {vat["name"] for vat in listed()["third"]["vats"]}


HOLDING = """
import time
from pathlib import Path
from vats import Exo

class Root(Exo):
    async def bootstrap(self, vats, services):
        return "ok"

    async def hold(self, path):
        while not Path(path).exists():
            time.sleep(0.01)  # holds the kernel up as a busy loop does
        return "let go"

def build_root_object(vat_powers, parameters, baggage):
    return Root()
"""


def test_action_and_banner_say_what_they_wait_for(browser: Browser) -> None:
    (browser.folder / "holding.py").write_text(HOLDING)
    text = toml("holding").replace("vat.py", "holding.py").replace('.py"', '.py"\nimports = ["*"]')
    (browser.folder / "holding.toml").write_text(text)
    ocap("launch", browser.folder / "holding.toml")
    vat = listed()["holding"]["vats"][0]["id"]
    browser.go("/send")
    browser.fill("target", vat)
    browser.fill("method", "hold")
    browser.fill("args", json.dumps([str(browser.folder / "gate")]))
    browser.follow("Send")
    try:
        browser.until_shown(f"the kernel has been in vat {vat} a, method hold, for ", ".banner")
        browser.until(lambda: re.match(r"Under way… \d+ s\. Process \d+ does not answer: ", browser.text(".said.busy")))
    finally:
        (browser.folder / "gate").touch()
    browser.until_shown("let go", ".said.done")
    browser.until(lambda: not browser.text(".banner"))


def test_restart_reload_and_terminate_say_first_what_they_do(browser: Browser) -> None:
    ocap("launch", write(browser, "fourth"))
    before = listed()["fourth"]
    browser.go(f"/subclusters/{before['id']}")
    browser.follow("Restart…")
    browser.until_shown("The next incarnation is built from what is stored", ".will")
    assert 0 == listed()["fourth"]["vats"][0]["incarnation"]
    browser.follow("Restart")
    browser.until_shown(f"Restarted {before['id']} fourth", "#notice.done")
    assert browser.driver.current_url.endswith(f"/subclusters/{before['id']}")
    assert 0 == ocap("ping", before["id"]).returncode
    assert [1, 1] == [vat["incarnation"] for vat in listed()["fourth"]["vats"]]
    browser.follow("Reload…")
    browser.until_shown("every vat starts with an empty store", ".will")
    browser.follow("Reload")
    browser.until(lambda: browser.driver.current_url.rpartition("/")[2] not in (before["id"], "reload"))
    browser.until_shown("fourth", "h1")
    after = listed()["fourth"]
    browser.until_shown(f"Reloaded {before['id']} fourth: it is {after['id']} now", "#notice.done")
    assert before["id"] != after["id"]
    browser.follow("Terminate…")
    browser.until_shown("This cannot be undone", ".will")
    assert all(vat["id"] in browser.text(".will") for vat in after["vats"])
    assert "fourth" in listed()
    browser.follow("Terminate")
    browser.until(lambda: browser.driver.current_url.endswith("/subclusters"))
    assert "fourth" not in listed()
    browser.until_shown(f"Terminated {after['id']} fourth.", "#notice.done")
    browser.until(lambda: "fourth" not in browser.text("#subclusters"))
    browser.go("/subclusters")
    assert "" == browser.text("#notice")  # it is told once


def test_upgrade_a_vat(browser: Browser) -> None:
    ocap("launch", write(browser, "fifth"))
    vat = listed()["fifth"]["vats"][0]["id"]
    (browser.folder / "new.py").write_text(VAT.replace("return [list(args), kwargs]", 'return "the new code"'))
    (browser.folder / "bad.py").write_text("raise RuntimeError('as it was told to')")
    browser.go(f"/vats/{vat}")
    browser.follow("Upgrade…")
    browser.until_shown("number 1, beside the one that runs", ".will")
    browser.fill("source", str(browser.folder / "bad.py"))
    browser.follow("Check")
    browser.until_shown("cannot take over what is stored", ".said.error")
    assert "as it was told to" in browser.text("form .said")
    browser.follow("Upgrade")
    browser.until(lambda: "take over" not in browser.text("form .said"))
    browser.until_shown("as it was told to", ".said.error")
    browser.fill("source", str(browser.folder / "new.py"))
    browser.follow("Check")
    browser.until_shown("The code can take over what is stored.", ".said.done")
    assert "[[], {}]\n" == ocap("send", vat, "echo").stdout
    browser.follow("Upgrade")
    browser.until_shown(f"Upgraded {vat} a: incarnation 1 runs.", "#notice.done")
    assert browser.driver.current_url.endswith(f"/vats/{vat}")
    assert '"the new code"\n' == ocap("send", vat, "echo").stdout
    assert "new.py" in browser.text()


def test_send_a_message_and_see_the_answer(browser: Browser) -> None:
    vat = listed()["first"]["vats"][0]["id"]
    browser.go(f"/send?target={vat}")
    browser.fill("method", "echo")
    browser.fill("args", '["<b>hello</b>", 3]')
    browser.follow("Send")
    browser.until_shown('[["<b>hello</b>", 3], {}]', ".said.done")
    browser.fill("method", "nope")
    browser.follow("Send")
    browser.until_shown("has no method nope", ".said.error")
    known = "return [...document.querySelectorAll('#methods option')].map((it) => it.value)"
    assert {"echo", "note"} <= set(browser.driver.execute_script(known))
    browser.fill("method", "note")
    browser.fill("args", '["of a reference"]')
    browser.follow("Send")
    link = browser.until(lambda: browser.driver.find_elements(By.CSS_SELECTOR, ".said.done a"))[0]
    assert "/objects/ko" in str(link.get_attribute("href"))
    browser.fill("args", "[")
    browser.follow("Send")
    browser.until_shown("arguments: not JSON", ".said.error")


def test_follow_the_traffic(browser: Browser) -> None:
    vat = listed()["first"]["vats"][1]["id"]
    browser.go("/traffic?method=echo")
    browser.until_shown("Everything that fits since", "#said")
    assert 0 == ocap("send", vat, "echo", '"seen live"').returncode
    browser.until_shown('.echo("seen live")', "#lines")
    ocap("send", vat, "wait_not", '"other"')
    assert "wait_not" not in browser.text("#lines")
    browser.until(lambda: "at=" in str(browser.find("#diagram").get_attribute("src")))
    browser.until(
        lambda: browser.driver.execute_script("return document.getElementById('diagram').naturalHeight > 150")
    )
    browser.find("#pause").click()
    ocap("send", vat, "echo", '"while paused"')
    time.sleep(1)
    assert "while paused" not in browser.text("#lines")
    link = next(
        it
        for it in browser.driver.find_elements(By.CSS_SELECTOR, "#lines a")
        if "deliver" in it.text and "seen live" in it.text
    )
    link.click()
    browser.until_shown("What led to it")
    assert "seen live" in browser.text(".chain")


def test_follow_the_log_file(browser: Browser) -> None:
    vat = listed()["first"]["vats"][1]["id"]
    database = browser.folder / "k.db"
    ocap("stop", "--db", database)
    assert 0 == ocap("start", "--db", database, "--log-json", browser.folder / "log.jsonl").returncode
    ocap("send", vat, "echo", '"before anybody looked"')
    browser.go("/traffic")
    browser.until_shown("Everything, from the log file", "#said")
    browser.until_shown("before anybody looked", "#lines")
    ocap("send", vat, "read", "1")
    browser.until_shown(".read(1)", "#lines")
    browser.go(f"/traffic?vat={vat}&method=echo")
    browser.until_shown("Everything that fits, from the log file", "#said")
    ocap("send", vat, "echo", '"seen in the file"')
    browser.until_shown("seen in the file", "#lines")
    assert ".read(" not in browser.text("#lines")
    ocap("stop", "--db", database)
    assert 0 == ocap("start", "--db", database).returncode
    browser.until_shown("Everything that fits since", "#said")  # the page as it is
    ocap("send", vat, "echo", '"from the kernel again"')
    browser.until_shown("from the kernel again", "#lines")


def test_pages_follow_what_others_change(browser: Browser) -> None:
    browser.go("/subclusters")
    browser.until_shown("first")
    browser.driver.execute_script("window.isStillHere = true")
    ocap("launch", write(browser, "sixth"))
    browser.until_shown("sixth")
    ocap("terminate", "sixth", "--yes")
    browser.until(lambda: "sixth" not in browser.text())
    assert browser.driver.execute_script("return window.isStillHere") is True


def test_what_changes_leaves_alone_what_one_is_at(browser: Browser) -> None:
    """The focus stays on its row, though rows come and go above it; what is marked stays until it is let go."""
    ocap("launch", write(browser, "eighth"))
    ocap("launch", write(browser, "ninth"))
    rows = listed()
    browser.go("/subclusters")
    script = "window.here = document.querySelector(arguments[0]); window.here.focus(); return window.here !== null"
    assert browser.driver.execute_script(script, f"a[href='/subclusters/{rows['ninth']['id']}']")
    ocap("terminate", "eighth", "--yes")
    browser.until(lambda: "eighth" not in browser.text())
    assert browser.driver.execute_script("return document.activeElement === window.here && window.here.isConnected")
    browser.driver.execute_script("getSelection().selectAllChildren(window.here)")
    ocap("launch", write(browser, "tenth"))
    time.sleep(2)  # in which it would be shown, as it is below; there is nothing to wait for
    assert "tenth" not in browser.text()
    assert rows["ninth"]["id"] == browser.driver.execute_script("return getSelection().toString()")
    browser.driver.execute_script("getSelection().removeAllRanges()")
    browser.until_shown("tenth")
    for name in ("ninth", "tenth"):
        ocap("terminate", name, "--yes")


def test_works_by_keyboard_alone(browser: Browser) -> None:
    browser.go("/")
    active = browser.driver.switch_to.active_element
    active.send_keys(Keys.TAB)
    assert "To the content" == browser.driver.switch_to.active_element.text
    for _ in range(3):
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
    assert "Subclusters" == browser.driver.switch_to.active_element.text
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.until_shown("Subclusters", "h1")
    vat = listed()["first"]["vats"][0]["id"]
    browser.go(f"/vats/{vat}")
    browser.find("form[data-post='/do/ping'] button").send_keys(Keys.ENTER)
    browser.until_shown("It answered in", ".said.done")
    browser.until(lambda: browser.driver.switch_to.active_element.text == "Ping")  # one goes on from where one was
    browser.go(f"/vats/{vat}/suspend")
    browser.until(lambda: browser.driver.switch_to.active_element.text == "Suspend")  # what it is for is one key away
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.until_shown("Suspended", "#notice.done")
    assert "suspended" == listed()["first"]["vats"][0]["state"]
    ocap("resume", vat)
    browser.go(f"/vats/{vat}/terminate")
    assert "Terminate" != browser.driver.switch_to.active_element.text  # but for what cannot be undone


CLICKABLE = """
const kinds = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]';
const all = [...document.querySelectorAll('*')];
const shown = all.filter((it) => it.getClientRects().length && (it.matches(kinds) || getComputedStyle(it).cursor === 'pointer'));
return [...new Set(shown.map((it) => all.indexOf(it.closest(kinds) || it)))];
"""


def test_tab_leads_to_everything_that_can_be_clicked(browser: Browser) -> None:
    vat = listed()["first"]["vats"][0]["id"]
    for path in (
        "/",
        "/subclusters/launch",
        f"/vats/{vat}",
        f"/vats/{vat}/upgrade",
        "/graph",
        "/traffic",
        "/store/vatstore",
    ):
        browser.go(path)
        expected, seen = set(browser.driver.execute_script(CLICKABLE)), set()
        for _ in range(len(expected) + 3):  # what has the focus at first may be in the middle
            browser.driver.switch_to.active_element.send_keys(Keys.TAB)
            seen.add(
                browser.driver.execute_script(
                    "return [...document.querySelectorAll('*')].indexOf(document.activeElement)"
                )
            )
        assert 10 < len(expected)
        assert set() == expected - seen, path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_can_be_read(browser: Browser, scheme: str) -> None:
    """Text stands out from its ground by the 4.5 that WCAG asks for."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    vat = listed()["first"]["vats"][0]["id"]
    for path in ("/", "/subclusters", f"/vats/{vat}", f"/vats/{vat}/terminate", "/send"):
        browser.go(path)
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        # The page may have been drawn once before it hears of that.
        browser.until(lambda: browser.driver.execute_script(CONTRAST)["isDark"] is (scheme == "dark"))
        found = browser.driver.execute_script(CONTRAST)
        assert found["count"] > 10
        assert [] == found["poor"]


WIDTHS = """
const wide = document.documentElement.clientWidth;
const loose = [...document.querySelectorAll('main *')].filter((it) => !it.closest('.wide, .picture, .lines, pre') && it.getBoundingClientRect().right > wide + 1);
const tables = [...document.querySelectorAll('.wide')].filter((it) => it.scrollWidth > it.clientWidth + 1);
return {fits: document.documentElement.scrollWidth <= wide, window: innerWidth, tables: tables.length, menu: document.querySelector('nav').offsetHeight, loose: loose.map((it) => it.outerHTML.slice(0, 80))};
"""


@pytest.mark.parametrize("width", [375, 768, 1024])
def test_no_page_is_wider_than_its_window_and_the_menu_stays_small(browser: Browser, width: int) -> None:
    if "long" not in listed():
        (browser.folder / "long.toml").write_text(toml("long").replace("vats.b]", f"vats.{'long-name-' * 8}]"))
        ocap("launch", browser.folder / "long.toml")
    (vat, *_) = [it["id"] for it in listed()["long"]["vats"] if it["name"] != "a"]
    root = json.loads(ocap("show", vat, "--json").stdout)["root"]
    paths = ["/", "/subclusters", "/subclusters/launch", "/vats", f"/vats/{vat}", f"/vats/{vat}/terminate", "/subclusters/s1", "/objects", f"/objects/{root}", "/graph", "/promises", "/send", "/traffic", "/dead-letters", "/store", "/store/vatstore", "/store/clist", "/nowhere"]  # fmt: skip
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for path in paths:
            browser.go(path)
            browser.until(lambda: browser.driver.execute_script("return document.readyState === 'complete'"))
            found = browser.driver.execute_script(WIDTHS)
            assert (True, width, []) == (found["fits"], found["window"], found["loose"]), path
            assert found["tables"] == 0 or path.startswith("/store/"), path  # whose columns are many
            assert width > 768 or found["menu"] <= (90 if width == 768 else 130), path
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dead_letter_that_faults_again_is_said_to_be_another(browser: Browser) -> None:
    ocap("launch", write(browser, "seventh"))
    vat = listed()["seventh"]["vats"][0]["id"]
    ocap("send", vat, "flood")
    browser.go("/dead-letters")
    browser.follow("Retry")
    browser.until_shown(f"faulted {vat} a again, and is dead letter", ".said.error")
    browser.until_shown("2", "#letters td.num")
    browser.follow("Drop")
    browser.until_shown("for good?", "#letters")
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    browser.until(lambda: "for good?" not in browser.text("#letters"))
    browser.follow("Drop")
    browser.until_shown("for good?", "#letters")
    browser.find("#letters .danger").click()
    browser.until_shown("Dropped", ".said.done")
    browser.until_shown("None.", "#letters")
    ocap("terminate", "seventh", "--yes")


CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const parse = (text) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4); return 0.2126 * x + 0.7152 * y + 0.0722 * z; };
const ground = (node) => { for (; node; node = node.parentElement) { const found = parse(getComputedStyle(node).backgroundColor); if (found[3] > 250) return found; } return [255, 255, 255, 255]; };
const poor = []; let count = 0;
for (const node of document.querySelectorAll('main *, nav a')) {
  if (![...node.childNodes].some((it) => it.nodeType === 3 && it.textContent.trim()) || node.closest('svg')) continue;
  if (!node.getClientRects().length) continue;
  const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
  count += 1;
  if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(`${node.tagName} ${node.className} ${node.textContent.trim().slice(0, 30)} ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
}
return {poor, count, isDark: light(ground(document.body)) < 0.2};
"""


def test_panel_says_when_the_daemon_has_gone(browser: Browser) -> None:
    browser.go("/vats")
    assert "does not answer" not in browser.text()
    ocap("stop", "--db", browser.folder / "k.db")
    browser.until_shown("The daemon does not answer")
    assert "first" in browser.text() or "vat.py" in browser.text()
    assert 0 == ocap("start", "--db", browser.folder / "k.db").returncode
    browser.until(lambda: "does not answer" not in browser.text())


def write(browser: Browser, name: str) -> Path:
    path = browser.folder / f"{name}.toml"
    path.write_text(toml(name))
    return path


def test_a_promise_that_waits_grows_older_before_the_eyes(browser: Browser) -> None:
    """Also while nothing happens in the kernel, and so nothing is told to the page."""
    vat = listed()["first"]["vats"][0]["id"]
    assert 0 == ocap("suspend", vat).returncode
    waiting = start_ocap("send", vat, "echo", '"late"')
    try:
        browser.go("/promises")
        browser.until_shown(" s\thost")
        browser.go(f"/vats/{vat}")
        browser.until_shown("the host asked for it", "#vat .facts")
        browser.go("/promises")
        browser.until(lambda: any(f"\t{age} s\thost" in browser.text() for age in range(3, 15)))
    finally:
        assert 0 == ocap("resume", vat).returncode
        assert '[["late"], {}]\n' == waiting.communicate(timeout=20)[0]
