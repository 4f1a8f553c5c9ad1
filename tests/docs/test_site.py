"""The site of the documents, built and opened where there is no network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
pytest.importorskip("mkdocs", reason="mkdocs builds the site")

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
CUT = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
"""No name has an address: whatever a page asks another host for fails, and is seen to."""


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The built site, and the address that serves it."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_no_page_asks_another_host_or_shows_a_diagrams_source(site: tuple[Path, str]) -> None:
    """Every page is opened; each diagram of its text is a drawing with a size."""
    folder, address = site
    wrong: list[str] = []
    drawn = 0
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", CUT])
        page = browser.new_page()
        page.on("request", lambda request: None if request.url.startswith(address) else wrong.append(request.url))
        # Aborted are those that were under way when the next page was opened.
        page.on(
            "requestfailed",
            lambda request: (
                None if request.failure == "net::ERR_ABORTED" else wrong.append(f"{request.url}: {request.failure}")
            ),
        )
        page.on("response", lambda response: wrong.append(response.url) if response.status >= 400 else None)
        page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
        pages = sorted(path.parent.relative_to(folder).as_posix() for path in folder.rglob("index.html"))
        assert len(pages) > 30
        for name in pages:
            page.goto(f"{address}/{name}/", wait_until="load")
            text = page.inner_text("article")
            assert not re.search(r"^\s*(flowchart|stateDiagram|sequenceDiagram)\b", text, re.MULTILINE), name
            for diagram in page.query_selector_all(".diagram svg"):
                box = diagram.bounding_box()
                assert box is not None, name
                assert min(box["width"], box["height"]) > 50, name
                drawn += 1
        browser.close()
    assert wrong == []
    fences = sum(path.read_text("utf-8").count("```mermaid") for path in (ROOT / "docs").rglob("*.md"))
    assert drawn == fences > 0
