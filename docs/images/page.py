"""Makes docs/images/page.png, the live page of a station: `python docs/images/page.py`. It needs Debian's chromium."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

PAGE = Path(__file__).with_name("page.png")
COLOURS = 96
"""A palette of so many keeps the file below 150 kB."""
OWN_PASSWORD = "a long walk in spring"


def main() -> None:
    """Run the demo, sign in, and take the page at its first bad board."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "procvision_tools", "station", "demo", "--no-browser", f"{scratch}/line-3"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as station:
            try:
                said = iter(station.stderr or ())
                address = next(found[1] for line in said if (found := re.search(r"page: (http\S+)", line)))
                password = next(found[1] for line in said if (found := re.search(r"password (\S+)", line)))
                with sync_playwright() as playwright:
                    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
                    page = browser.new_page(viewport={"width": 1280, "height": 720}, color_scheme="light")
                    take(page, address, password)
                    browser.close()
            finally:
                station.terminate()


def take(page: Page, address: str, password: str) -> None:
    """Sign in with a one-time password, and wait for an NG with its picture."""
    page.goto(address)
    for name, value in (("name", "admin"), ("password", password)):
        page.fill(f"[name={name}]", value)
    page.click("button[type=submit]")
    for name, value in (("old", password), ("new", OWN_PASSWORD)):
        page.fill(f"[name={name}]", value)
    page.click("#password button[type=submit]")
    page.locator(".recent li").nth(8).wait_for(timeout=60_000)
    page.locator("[data-told=NG] .mark").first.wait_for(timeout=60_000)
    with Image.open(io.BytesIO(page.screenshot())) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(PAGE, optimize=True)


if __name__ == "__main__":
    main()
