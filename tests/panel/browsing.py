"""A real browser at the panel of a daemon."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from ocap.verify import verify
from tests.commands import ocap, start_ocap
from tests.daemon.serving import VAT, toml

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,900",
]  # fmt: skip


@frozen
class Browser:
    """A browser at the panel of a daemon."""

    driver: webdriver.Chrome
    base: str
    folder: Path

    def go(self, path: str) -> None:
        self.driver.get(self.base + path)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str = "main") -> str:
        # By one script: an element that was found may be replaced by a fresher one.
        found = self.driver.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)
        assert isinstance(found, str)
        return found

    def follow(self, text: str) -> None:
        """The link or button of that text."""
        script = """return [...document.querySelectorAll('main a, main button')].find((it) => it.textContent.trim() === arguments[0])"""

        def clicked() -> bool:
            found = self.driver.execute_script(script, text)
            try:
                if found is not None:
                    found.click()
            except StaleElementReferenceException:
                return False  # the page was drawn anew between: nothing was clicked
            return found is not None

        self.until(clicked)

    def fill(self, name: str, text: str) -> None:
        field = self.find(f"[name={name}]")
        field.clear()
        field.send_keys(text)

    def until(self, is_so: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            if found := is_so():
                return found
            time.sleep(0.05)
        pytest.fail(f"not so after 15 s, on {self.driver.current_url}: {self.text()[:500]}")

    def until_shown(self, text: str, selector: str = "main") -> None:
        self.until(lambda: text in self.text(selector))


@contextmanager
def browsing(folder: Path, files: tuple[str, str], *flags: str) -> Iterator[Browser]:
    """Let in by a panel of the daemon on `k.db` in `folder`."""
    panel = start_ocap("panel", "--db", folder / "k.db")
    assert panel.stdout is not None
    link = panel.stdout.readline().strip()
    options = webdriver.ChromeOptions()
    options.binary_location = files[0]
    for flag in [*FLAGS, f"--user-data-dir={folder / 'profile'}", *flags]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(files[1]))
    try:
        it = Browser(driver, link.partition("/#")[0], folder)
        driver.get(link)
        it.until_shown("Overview")
        assert link.partition("#")[2] not in driver.current_url
        driver.get_log("browser")  # type: ignore[no-untyped-call]  # of the page that asks who comes
        yield it
    finally:
        driver.quit()
        panel.terminate()
        _, error = panel.communicate(timeout=20)
    assert "" == error


@contextmanager
def browsing_daemon(folder: Path, files: tuple[str, str], *flags: str) -> Iterator[Browser]:
    """The same, of a daemon that is started for it, with the subcluster `first`; its database is verified in the end."""
    (folder / "vat.py").write_text(VAT)
    (folder / "c.toml").write_text(toml("first"))
    assert 0 == ocap("start", folder / "c.toml", "--db", folder / "k.db").returncode
    try:
        with browsing(folder, files, *flags) as it:
            yield it
    finally:
        ocap("stop", "--db", folder / "k.db")
    assert [] == verify(folder / "k.db")
