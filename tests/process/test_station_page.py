"""The page's process: from its first start on, over TLS, and until it ends."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("litestar", reason="the extra station serves the page")

from procvision_station.configuration.files import ConfigurationError
from procvision_station.configuration.page import read_web
from procvision_station.exporting import records
from procvision_station.scaffold import make_station
from procvision_station.web.server import PageError, bound_socket, tls_context

COMMAND = [sys.executable, "-m", "procvision_tools", "station"]


@contextlib.contextmanager
def served(folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A page's address and its process."""
    process = subprocess.Popen([*COMMAND, "page", folder, "--port", "0", *options], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        told = re.fullmatch(r"page: (https?://\S+)/\n", process.stderr.readline())
        assert told is not None, process.stderr.read()
        yield told[1], process
    finally:
        process.terminate()
        process.communicate(timeout=20)


def certificate(folder: Path, name: str = "localhost") -> None:
    """A self-signed certificate and its key, as PEM files."""
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography makes the certificate")
    from datetime import UTC, datetime, timedelta

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "page.pem").write_bytes(made.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "page.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))


def test_the_first_start_prints_a_password_that_lets_in_over_tls_alone(tmp_path: Path) -> None:
    folder = tmp_path / "line-3"
    list(make_station(folder))
    certificate(folder)
    options = ("--certificate", str(folder / "page.pem"), "--key", str(folder / "page.key"))
    with served(folder, *options) as (address, process):
        assert address.startswith("https://127.0.0.1:")
        assert process.stderr is not None
        password = re.search(r"sign in as admin with the one-time password (\S+)", process.stderr.readline())
        assert password is not None
        named = address.replace("127.0.0.1", "localhost")
        with httpx.Client(base_url=named, verify=ssl.create_default_context(cafile=folder / "page.pem")) as browser:
            answer = browser.post("/api/session", json={"name": "admin", "password": password[1]})
            assert answer.status_code == 200, answer.text
            assert "server" not in answer.headers
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith("__Host-")
            assert "Secure" in cookie
            new = {"old": password[1], "new": "a long walk in spring"}
            token = {"x-csrf-token": answer.json()["csrf"]}
            assert browser.post("/api/password", json=new, headers=token).status_code == 200
            assert [each["name"] for each in browser.get("/api/users").json()] == ["admin"]
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{address.replace('https', 'http')}/api/session")
        made = subprocess.run([*COMMAND, "user", "add", folder, "anna"], capture_output=True, text=True, timeout=60)
        assert "one-time password" in made.stdout  # beside the running page
        process.terminate()
        assert process.wait(20) in (0, 143)


def test_a_taken_port_and_an_open_address_are_told_with_a_hint(tmp_path: Path) -> None:
    list(make_station(tmp_path / "a"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = read_web(tmp_path / "a", {"port": other.getsockname()[1]}).web
        with pytest.raises(PageError, match=r"can't be listened on: .*\nhint: another port"):
            bound_socket(settings)
    for host in ("0.0.0.0", "::", "192.168.1.7", "station.example"):
        with pytest.raises(ConfigurationError, match="passwords would travel in the clear"):
            read_web(tmp_path / "a", {"host": host})
        read_web(tmp_path / "a", {"host": host, "plain": True})
    for wrong in ({"certificate": "a.pem"}, {"key": "a.key"}, {"certificate": "no.pem", "key": "no.key"}):
        with pytest.raises(ConfigurationError, match=r"web\.(certificate|key)"):
            read_web(tmp_path / "a", wrong)
    settings = read_web(tmp_path / "a", {"certificate": "station.toml", "key": "station.toml"}).web
    with pytest.raises(PageError, match="can't be used"):
        tls_context(tmp_path / "a", settings)


def test_a_running_station_shows_a_verdict_and_takes_an_overrule_into_its_ledger(tmp_path: Path) -> None:
    """The lines' process, the projection's and the page's, as `run` starts them."""
    folder = tmp_path / "line-3"
    list(make_station(folder, port=0))
    process = subprocess.Popen([*COMMAND, "run", folder], stderr=subprocess.PIPE, text=True)
    try:
        address, password = said(process, r"page: (http://\S+)/"), said(process, r"one-time password (\S+)")
        with httpx.Client(base_url=address, timeout=30) as browser:
            csrf = browser.post("/api/session", json={"name": "admin", "password": password}).json()["csrf"]
            new = {"old": password, "new": "a long walk in spring"}
            csrf = browser.post("/api/password", json=new, headers={"x-csrf-token": csrf}).json()["csrf"]
            with browser.stream("GET", "/api/live") as stream:
                assert stream.headers["content-type"].startswith("text/event-stream")
                line = next(each for each in lines_of(stream) if each["last"] and each["running"] and wholly(each))
            row = line["last"]["product"]["row"]
            assert line["problems"] == []
            assert line["counts"]["ok"] + line["counts"]["ng"] >= 1
            assert browser.get(line["last"]["pictures"][0]).headers["content-type"].startswith("image/")
            at = f"/api/lines/main/products/{row['key']}"
            token, box = {"x-csrf-token": csrf}, {"label": "scratch", "x": 10, "y": 20, "width": 30, "height": 40.5}
            for verdict, step in (("OK", 0), ("NG", 7)):
                wrong = {"verdict": verdict, "why": "x", "defects": [{"step": step, **box}]}
                assert browser.post(f"{at}/overrule", json=wrong, headers=token).json()["code"] == "drawn"
            body = {"verdict": "NG", "why": "a scratch", "defects": [{"step": 0, **box}]}
            recorded = browser.post(f"{at}/overrule", json=body, headers=token)
            assert recorded.status_code == 201, recorded.text
            until(lambda: browser.get(at).json()["product"]["row"]["overruled"] == "NG")
            until(lambda: b"scratch" in browser.get("/api/export/coco.json").content or not kept(folder, row["key"]))
            recipe = browser.get("/api/recipes/board").json()
            wrong = {"text": recipe["text"].replace("0.5", "7"), "was": recipe["version"], "why": "x"}
            assert "recipes/board.toml" in browser.put("/api/recipes/board", json=wrong, headers=token).json()["where"]
            body = {"steps": [{"min_score": 0.6}], "was": recipe["version"], "why": "fewer false alarms"}
            changed = browser.put("/api/recipes/board/parameters", json=body, headers=token)
            assert changed.status_code == 200, changed.text
            again = {"text": recipe["text"], "was": recipe["version"], "why": "x"}
            assert browser.put("/api/recipes/board", json=again, headers=token).status_code == 409  # of another version
            until(lambda: len(browser.get("/api/recipes/board/versions").json()["rows"]) == 2)
            old = {"old": recipe["version"]}
            difference = browser.get("/api/recipes/board/difference", params=old).json()["lines"]
            assert any(each.startswith("+") and "0.6" in each for each in difference)
            until(
                lambda: "password_changed" in browser.get("/api/events").text
            )  # the accounts' events are in the ledger
            assert all(each["whole"] for each in browser.get("/api/audit").json())
    finally:
        process.terminate()
        _, told = process.communicate(timeout=60)
    assert process.returncode == 143, told
    ledger = [
        each for each in records("main", folder / "data" / "journal" / "main") if each.get("event") == "overruled"
    ]
    assert [(each["key"], each["verdict"], each["why"]) for each in ledger] == [(row["key"], "NG", "a scratch")]
    assert ledger[0]["defects"] == [{"step": 0, **box}]


def kept(folder: Path, key: str) -> bool:
    """Whether a product's picture is kept."""
    found = records("main", folder / "data" / "journal" / "main")
    return any(each.get("event") == "picture" and each.get("key") == key for each in found)


def said(process: subprocess.Popen[str], pattern: str) -> str:
    """What stands in the first line on stderr that fits."""
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(pattern, line)
        if found is not None:
            return found[1]
    raise AssertionError(f"the station ended with {process.wait()}")


def lines_of(stream: httpx.Response) -> Iterator[dict]:
    """The lines that a stream of events tells of."""
    event = ""
    for text in stream.iter_lines():
        if text.startswith("event: "):
            event = text.removeprefix("event: ")
        elif text.startswith("data: ") and event == "line":
            yield json.loads(text.removeprefix("data: "))


def wholly(line: dict) -> bool:
    """Whether its last product's pictures can be asked for."""
    return None not in line["last"]["pictures"]


def until(holds: Callable[[], bool], within_s: float = 30.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)
