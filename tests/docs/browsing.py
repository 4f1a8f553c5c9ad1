"""Does in Chromium what the tutorial of a running line says to do in a browser: every button by the page's own word."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Mapping
from types import TracebackType

import pytest
from following import Terminal

TERMINAL = "The station's terminal"
OWN_PASSWORD = "a long walk in spring"
RELOADS = 15
_BOLD = re.compile(r"\*\*(.+?)\*\*")
_CODE = re.compile(r"`(.+?)`")


class LinePage:
    """A browser that follows the tutorial's numbered lists."""

    def __init__(self, tutorial: str, address: str) -> None:
        self._tutorial, self._address = tutorial, address

    def __enter__(self) -> LinePage:
        sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
        self._no_such_thing = sync_api.TimeoutError
        self._manager = sync_api.sync_playwright()
        playwright = self._manager.__enter__()
        self._browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        self.page = self._browser.new_page()
        self.page.set_default_timeout(20_000)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._browser.close()
        self._manager.__exit__(kind, error, at)

    def _steps(self, heading: str) -> list[str]:
        section = self._tutorial.split(heading, 1)[1].split("\n## ", 1)[0]
        return re.findall(r"^\d\. (.+?)(?=^\S|\Z)", section, re.MULTILINE | re.DOTALL)

    def look(self, terminals: Mapping[str, Terminal]) -> None:
        """Signs in by what the terminal printed, and sees the live page."""
        one_time = re.search(r"one-time password (\S+)", terminals[TERMINAL].output())
        assert one_time is not None
        opened, sign_in, own = self._steps("4. Look at it")
        assert _CODE.findall(opened) == [self._address]
        self.page.goto(self._address)
        self.page.get_by_label("Name").fill(_CODE.findall(sign_in)[0])
        self.page.get_by_label("Password").fill(one_time[1])
        self.page.get_by_role("button", name=_BOLD.findall(sign_in)[0], exact=True).click()
        for field, password in (("old", one_time[1]), ("new", OWN_PASSWORD)):
            self.page.locator(f"[name={field}]").fill(password)
        self.page.get_by_role("button", name=_BOLD.findall(own)[0], exact=True).click()
        self.page.locator("[data-told]").wait_for()

    def overrule(self, _: Mapping[str, Terminal]) -> None:
        """Overrules the first NG of the history."""
        history, time, choice, record = self._steps("5. Say that a verdict is wrong")
        self.page.get_by_role("link", name=_BOLD.findall(history)[0], exact=True).click()
        row = self.page.locator("tbody tr:has(.is-NG) td.tight a").first
        for _ in range(RELOADS):
            self.page.get_by_label("Verdict").select_option("NG")
            with contextlib.suppress(self._no_such_thing):
                row.wait_for(timeout=2_000)
                break
            self.page.reload()  # The first NG comes with the fifth board.
        row.click()
        assert "time" in time
        button, verdict = _BOLD.findall(choice)
        self.page.get_by_role("button", name=button, exact=True).click()
        self.page.get_by_role("radio", name=verdict, exact=True).check()
        self.page.get_by_label("Why").fill(_CODE.findall(choice)[0])
        self.page.get_by_role("button", name=_BOLD.findall(record)[0], exact=True).click()
        self.page.locator(".remarks").get_by_text(_CODE.findall(choice)[0]).wait_for()
