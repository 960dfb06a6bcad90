"""A headless browser to look at dashboards with, as tests and the screenshots for the docs do."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from compute.errors import Code, ComputeError
from compute.testing.netless import deny_netlink

# Nothing but the page: no first run, no updates, no look-ups of anybody's hosts.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--lang=en",
)
WAIT_S = 20.0
ValueT = TypeVar("ValueT")


class Browser:
    """One window.

    Args:
        driver: selenium's.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def size(self, width: int, height: int, scale: float = 1) -> None:
        """Give the window's inside a size in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, scheme: str) -> None:
        """Prefer a colour scheme: light or dark."""
        wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page, and give what it returns."""
        return self.driver.execute_script(script, *arguments)

    def keys(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        for key in keys:
            for kind in ("keyDown", "keyUp"):
                self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, **_KEYS[key]})

    def until(self, look: Callable[[], ValueT | None], what: str) -> ValueT:
        """Look until there is something to see.

        Raises:
            ComputeError: `INTERNAL` when the time is up.
        """
        over = time.monotonic() + WAIT_S
        while not (found := look()):
            if time.monotonic() > over:
                text = str(self.run("return document.body.innerText"))[:600]
                raise ComputeError(Code.INTERNAL, f"no {what} on the page, which says: {text}")
            time.sleep(0.05)
        return found

    def settle(self) -> None:
        """Wait until the page has drawn everything that it asked for."""
        script = (
            "return document.readyState === 'complete' && !!document.querySelector('#nav li')"
            " && !document.querySelector('[aria-busy]')"
        )
        self.until(lambda: self.run(script), "settled page")
        self.run("return new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")

    def go(self, url: str) -> None:
        """Open an address, and wait until it is drawn."""
        self.driver.get(url)
        self.settle()

    def complaints(self) -> list[str]:
        """What the page wrote to its console as warnings or errors since the last time."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in {"WARNING", "SEVERE"}
        ]


def _key(name: str, code: int, text: str = "") -> dict[str, Any]:
    pressed = {"key": name, "code": name, "windowsVirtualKeyCode": code}
    return pressed | ({"text": text} if text else {})


_KEYS = {
    "tab": _key("Tab", 9),
    "enter": _key("Enter", 13, "\r"),
    "left": _key("ArrowLeft", 37),
    "right": _key("ArrowRight", 39),
    "down": _key("ArrowDown", 40),
    "end": _key("End", 35),
}


@contextmanager
def browsing(profile: Path, *more: str) -> Iterator[Browser]:
    """A headless Chromium while the context lasts.

    Args:
        profile: an empty folder.
        more: flags.

    Raises:
        ComputeError: `HOST_UNFIT` when there is no Chromium or no driver of it.
    """
    from selenium import webdriver  # noqa: PLC0415 - for tests only, and slow to import
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415 - the same

    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        needed = "chromium and chromium-driver (scripts/bootstrap --tests installs them)"
        raise ComputeError(Code.HOST_UNFIT, needed)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={profile}", *more):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(driver, popen_kw={"preexec_fn": deny_netlink})
    opened = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(opened)
    finally:
        opened.quit()
