"""How long a live verdict takes from its trigger to a browser's screen, with a whole station."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from procvision_station.scaffold import make_station

WATCH = """() => {
  window.took = [];
  let seen = null;
  new MutationObserver(() => {
    const { key } = document.querySelector("[data-key]")?.dataset ?? {};
    if (!key || key === seen) return;
    seen = key;
    requestAnimationFrame(() => window.took.push([key, Date.now()]));
  }).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""


def measured(folder: Path, browser: Any, products: int) -> list[float]:
    """Return milliseconds from trigger to the frame that shows the verdict, one a product. Both clocks are one."""
    home = folder / "line-3"
    list(make_station(home, port=0))
    process = subprocess.Popen(
        [sys.executable, "-m", "procvision_tools", "station", "run", str(home)],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        address, password = _said(process, r"page: (http://\S+)/"), _said(process, r"one-time password (\S+)")
        page = browser.new_page()
        page.goto(f"{address}/")
        page.fill("[name=name]", "admin")
        page.fill("[name=password]", password)
        page.keyboard.press("Enter")
        page.wait_for_url("**/account")
        page.fill("[name=old]", password)
        page.fill("[name=new]", "a long walk in spring")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{address}/")
        page.evaluate(WATCH)
        end = time.monotonic() + 600
        while page.evaluate("window.took.length") <= products and time.monotonic() < end:
            time.sleep(0.5)
        shown = dict(page.evaluate("window.took"))
        rows = page.evaluate("fetch('/api/products?limit=500').then((answer) => answer.json())")["rows"]
        triggered = {row["key"]: page.evaluate("text => Date.parse(text)", row["triggered_at"]) for row in rows}
        page.close()
        # The first one was there already.
        return [shown[key] - triggered[key] for key in list(shown)[1:] if key in triggered]
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _said(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stderr is not None
    return next(found[1] for line in process.stderr if (found := re.search(pattern, line)))
