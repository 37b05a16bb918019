"""Chromium for tests: one for a module, and pages that keep what they tried to do besides.

A module takes it by `browser = chromium.browser`. Not for a whole run: while its driver is open, no
test of the same thread could have an event loop of its own.
"""

import shutil
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
WCAG_22 = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
AXE = Axe()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # A container lacks the namespaces of Chromium's own sandbox; root may not use it at all.
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Seen:
    """A page of its own context: what it said on the console, and every address it asked for."""

    def __init__(self, browser: Browser, width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 860},
            color_scheme=scheme,
            reduced_motion="reduce",
            ignore_https_errors=True,
        )
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def strange(self, *ours: str) -> list[str]:
        """Return what it asked for elsewhere."""
        return [url for url in self.asked if not url.startswith((*ours, "data:"))]

    def violations(self) -> list[str]:
        """Return what axe-core finds against WCAG 2.2, levels A and AA: the rule and the element.

        The script comes by the driver, past the page's own policy, which stays as strict as it is.
        """
        options = {"runOnly": {"type": "tag", "values": WCAG_22}, "resultTypes": ["violations"]}
        found = AXE.run(self.page, options=options).response["violations"]
        return [f"{rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]
