"""A week at a product a second: the projection is computed from its journal, and every page is asked for.

With `--cold` nothing is in memory: before each question the database's files are dropped from the kernel's cache, and
the connection is a new one.

The products have a step with a recipe's parameters, measured values, defects of a few labels of which one is rare,
serial numbers, kept and deleted pictures, and what people said of some. Then the page's own process is asked over HTTP,
each question several times; the first of them finds no cache of ours filled.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import httpx

from procvision_station.configuration.page import read_web
from procvision_station.configuration.reading import read_station
from procvision_station.journal.disk import FolderDisk
from procvision_station.journal.layout import Kind
from procvision_station.journal.writer import Journal
from procvision_station.projection.database import Database
from procvision_station.projection.projector import Projector
from procvision_station.projection.queries import ReadModel
from procvision_station.projection.tables import metadata
from procvision_station.scaffold import make_station
from procvision_station.web.accounts import WEB_FOLDER, Accounts, Role
from procvision_station.web.app import Page, served
from procvision_station.web.doors import Doors

WEEK = 7 * 86_400
LABELS = ("scratch", "open", "short", "spur", "missing hole", "mouse bite")
RARE = "burn mark"
PASSWORD = "a long walk in spring"
BOUND_MS = 300.0
MORE_FILTERS = 200
"""Questions with three to seven filters, drawn."""


# --- the ledger -----------------------------------------------------------------------------------------------


def records(products: int, end: datetime, seed: int = 1) -> Iterator[tuple[int, Kind, dict[str, Any]]]:
    """Yield what a line writes: nanoseconds, kind and content. The last product is triggered a second before `end`."""
    rng = random.Random(seed)
    begin = end - timedelta(seconds=products)
    begin_s = begin.timestamp()
    step = {"camera": "top", "algorithm": "pcb-compare", "step": 1, "parameters": {"min_score": 0.5}}

    def started(number: int, version: int) -> dict[str, Any]:
        return {"event": "started" if number == 0 else "recipe", "run": "r1", "station": "week", "line": "main",
                "recipe": "board", "recipe_version": f"v{version}", "product": "board", "steps": [step],
                "hosts": {"pcb-compare": {"sdk": "1"}}, "user": "u-2", "why": "tighter"}  # fmt: skip

    for number in range(products):
        version, at = number * 9 // products, begin_s + number
        now_ns = round((at + 0.04) * 1e9)
        if number == 0 or version != (number - 1) * 9 // products:
            yield now_ns, Kind.EVENT, started(number, version)
        draw = rng.random()
        verdict = "ERROR" if draw < 0.002 else "NG" if draw < 0.03 else "OK"
        labels = rng.choices(LABELS, k=rng.randrange(1, 4)) if verdict == "NG" else []
        if number % 60_000 == 7:
            verdict, labels = "NG", [RARE]
        key = f"r1-{number:06d}"
        kept = verdict != "OK" or number % 20 == 0
        yield now_ns, Kind.PRODUCT, {
            "key": key, "found": verdict, "told": verdict, "reason": "" if verdict == "OK" else ", ".join(labels),
            "lost_before": 0, "product": "board" if number % 3 else "panel", "serial": f"S{number:08d}",
            "recipe": "board" if number % 50 else "sample", "recipe_version": f"v{version}",
            "triggered_at": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
            "elapsed_ms": round(20 + 10 * rng.random(), 3), "file": None,
            "steps": [{
                "step": 0, "camera": "top", "algorithm": "pcb-compare", "version": f"1.{version // 3}.0",
                "manifest_step": 1, "parameters": {"min_score": 0.5}, "verdict": verdict, "message": "",
                "error_code": None, "answered_ms": 18.25, "picture": "kept" if kept else "not kept",
                "ng_reason": ", ".join(labels),
                "defect_rects": [
                    {"x": 4 * place, "y": 9, "width": 12, "height": 8, "label": label, "score": 0.9}
                    for place, label in enumerate(labels)
                ],
                "debug": {"latency_ms": 18.0, "gap": {"value": rng.random(), "low": 0.1, "high": 0.9, "unit": "mm"},
                          "contrast": 100 * rng.random(), "sharpness": rng.random()},
            }],
        }  # fmt: skip
        if kept:
            digest = f"{rng.getrandbits(256):064x}"
            file = f"{digest[:2]}/{digest[2:]}.png"
            yield now_ns, Kind.EVENT, {"event": "picture", "key": key, "step": 0, "file": file, "bytes": 900_000}
        if number % 500 == 499:
            yield now_ns, Kind.EVENT, {"event": "overruled", "key": f"r1-{number - 40:06d}", "user": "u-1",
                                       "verdict": "NG" if number % 1000 == 499 else "OK", "why": "looked"}  # fmt: skip
        if number % 700 == 699:
            yield now_ns, Kind.EVENT, {"event": "note", "key": f"r1-{number - 9:06d}", "user": "u-2", "text": "dirt"}
        if number % 5000 == 4999:
            yield now_ns, Kind.EVENT, {"event": "pinned", "key": f"r1-{number - 9:06d}", "user": "u-2"}
        if number % 1000 == 999:
            yield now_ns, Kind.EVENT, {"event": "not_told", "key": key, "output": 0, "kind": "webhook",
                                       "reason": "nobody answers"}  # fmt: skip


def write_journal(folder: Path, products: int, end: datetime, seed: int) -> int:
    """Write a line's journal; return how many records it has."""
    folder.mkdir(parents=True)
    now = [0]
    journal = Journal(FolderDisk(folder), clock_ns=lambda: now[0])
    for number, (at_ns, kind, content) in enumerate(records(products, end, seed)):
        now[0] = at_ns
        journal.append(kind, content)
        if number % 1000 == 999:
            journal.sync()
    journal.sync()
    journal.close()
    return journal.sequence


def build(folder: Path, url: str) -> dict[str, Any]:
    """Compute the projection anew; return its time and size."""
    database = Database(url, folder / "data", writes=True)
    began, cpu = time.monotonic(), time.process_time()
    count = Projector(database, folder / "data" / "journal").rebuild()
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    with database.reading() as connection:
        if database.is_sqlite:
            rows = None
        else:
            from sqlalchemy import text

            rows = connection.execute(text("SELECT pg_database_size(current_database())")).scalar()
    database.close()
    size = sum(path.stat().st_size for path in (folder / "data").glob("projection.sqlite*")) if rows is None else rows
    return {"records": count, "seconds": round(took, 1), "cpu_s": round(cpu, 1), "megabytes": round(size / 1e6, 1)}


# --- the questions --------------------------------------------------------------------------------------------


def questions(products: int, end: datetime, after: str, rare_after: str) -> Iterator[str]:
    """Yield every page's path, and every question of the interface that reads the projection, with its filters."""
    begin = end - timedelta(seconds=products)
    middle = begin + timedelta(seconds=products // 2)
    week = f"since={_iso(begin)}&until={_iso(end)}"
    key = f"r1-{products // 2:06d}"
    yield from ("/", "/history", "/statistics", "/recipes", "/versions", "/audit", "/users", "/account")
    yield f"/lines/main/products/{key}"
    yield from ("/api/lines", "/api/session", "/api/names", "/api/labels", "/api/labels?line=main", "/api/users")
    yield from (f"/api/lines/main/products/{key}", "/api/lines/main/products/none", "/api/recipes")
    yield from ("/api/recipes/board", "/api/recipes/board/versions", "/api/versions", "/api/openapi.json")
    yield from _of_history(products, begin, end, after, rare_after)
    # Events: the audit's list.
    events = [
        "line=main", "line=none", "event=overruled", "event=picture_lost", "event=not_told", "event=none", "user=u-1",
        "user=none", f"key={key}", "key=none", "by_users=true", f"until={_iso(middle)}", f"since={_iso(end)}", week,
    ]  # fmt: skip
    yield "/api/events"
    for place, first in enumerate(events):
        yield f"/api/events?{first}"
        yield f"/api/events?{first}&limit=500"
        for second in events[place + 1 :]:
            if first.partition("=")[0] != second.partition("=")[0] and "&" not in second:
                yield f"/api/events?{first}&{second}"
    # Statistics of the whole week, by every group and filter, as numbers and drawn.
    filters = ("", "&line=main", "&recipe=sample", "&recipe_version=v4", "&versions=pcb-compare%201.1.0", "&line=none")
    for each in filters:
        for by in ("all", "shift", "recipe", "version", "line", "quarter"):
            yield f"/api/statistics/counts?{week}&by={by}{each}"
        yield f"/api/statistics/pareto?{week}{each}"
        yield f"/api/statistics/measures?{week}{each}"
        yield f"/api/statistics/trend?{week}&step=0&name=gap{each}"
        yield f"/api/statistics/yield.svg?{week}&by=shift{each}"
        yield f"/api/statistics/yield.svg?{week}&by=quarter{each}"
        yield f"/api/statistics/pareto.svg?{week}{each}"
        yield f"/api/statistics/trend.svg?{week}&step=0&name=gap{each}"


def _of_history(products: int, begin: datetime, end: datetime, after: str, rare_after: str) -> Iterator[str]:
    """Yield the questions for products: each filter alone, then two at a time, some more together, and at depth."""
    middle, key = begin + timedelta(seconds=products // 2), f"r1-{products // 2:06d}"
    week = f"since={_iso(begin)}&until={_iso(end)}"
    single = [
        "line=main", "line=none", "told=OK", "told=NG", "told=ERROR", "overruled=any", "overruled=OK", "overruled=NG",
        "overruled=ERROR", f"label={LABELS[0]}", f"label={RARE.replace(' ', '%20')}", "label=none", "recipe=board",
        "recipe=sample", "recipe=none", "recipe_version=v0", "recipe_version=v8", "recipe_version=none",
        "versions=pcb-compare%201.0.0", "versions=pcb-compare%201.2.0", "versions=none", "product=panel",
        "product=none", f"serial=S{7:08d}", "serial=none", f"key={key}", "key=none", f"until={_iso(middle)}",
        f"since={_iso(middle)}", f"until={_iso(begin)}", f"since={_iso(end)}", week,
    ]  # fmt: skip
    yield "/api/products"
    yield "/api/products?limit=500"
    for each in single:
        yield f"/api/products?{each}"
        yield f"/api/products?{each}&limit=500"
    names = [each.partition("=")[0] for each in single]
    for place, first in enumerate(single):
        for other, second in zip(names[place + 1 :], single[place + 1 :], strict=True):
            if names[place] != other and "&" not in second:
                yield f"/api/products?{first}&{second}"
    rng = random.Random(2)
    for _ in range(MORE_FILTERS):
        drawn = {each.partition("=")[0]: each for each in rng.sample(single[:-1], rng.randrange(3, 8))}
        yield f"/api/products?{'&'.join(drawn.values())}"
    for each in ("", "told=OK&", "line=main&", "recipe=sample&", "recipe_version=v0&", "told=ERROR&", "product=panel&"):
        yield f"/api/products?{each}after={after}"
    yield f"/api/products?label={LABELS[0]}&after={after}"
    yield f"/api/products?told=ERROR&after={rare_after}"
    yield from (f"/api/export/{kind}?{each}" for kind in ("products.csv", "products.json") for each in ("", *single))


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@contextlib.contextmanager
def page_process(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Serve the page by a process of its own, as a station does."""
    command = [sys.executable, "-P", "-m", "procvision_tools", "station", "page", str(folder), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            yield (
                next(told[1] for line in process.stderr if (told := re.match(r"page: (http://\S+)/", line))),
                lambda: None,
            )
        finally:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def cold_page(folder: Path, files: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Serve the page by this process, which can forget what it has read of the database."""
    import uvicorn

    configuration = read_web(folder, {})
    database = Database(configuration.projection.database, folder / "data")
    accounts = Accounts(folder / "data" / WEB_FOLDER)
    page = Page(accounts, Doors(accounts), ReadModel(database, configuration.shifts), configuration)

    def forget() -> None:
        database.close()
        drop_caches(files)

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(served(page), log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", forget
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        database.close()
        accounts.close()


def drop_caches(files: Path) -> None:
    """Let the kernel forget what it has of a folder's files; what is not on the disk yet stays."""
    for path in files.rglob("*") if files.is_dir() else files.parent.glob(f"{files.name}*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fdatasync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def ask_all(folder: Path, products: int, end: datetime, repeats: int, cold: Path | None) -> dict[str, Any]:
    """Ask the page everything; return milliseconds of each question's answers."""
    secret = token_of(folder)
    with cold_page(folder, cold) if cold else page_process(folder) as (address, forget):
        headers = {"authorization": f"Bearer {secret}"}
        with httpx.Client(base_url=address, headers=headers, timeout=120) as client:
            middle = end - timedelta(seconds=products // 2)
            at_depth, rare = (
                client.get(f"/api/products?until={_iso(middle)}&limit=1{more}").json()["after"]
                for more in ("", "&told=ERROR")
            )
            found = [_asked(client, path, repeats, forget)[0] for path in questions(products, end, at_depth, rare)]
            parts = list(_verified(client))
    found += [max(parts, key=lambda each: each["worst_ms"])]
    slow = [each for each in found if each["worst_ms"] > BOUND_MS]
    worst = sorted(found, key=lambda each: -each["worst_ms"])[:15]
    wrong = [each for each in found if each["status"] not in (200, 404)]
    took = sorted(each["worst_ms"] for each in found)
    return {
        "questions": len(found),
        "answers": len(found) * repeats,
        "median_ms": round(statistics.median(each["median_ms"] for each in found), 1),
        "p99_of_the_worst_ms": took[len(took) * 99 // 100],
        "worst_ms": took[-1],
        "above_300_ms": slow,
        "worst": worst,
        "wrong": wrong,
        "journals_verified_s": round(sum(each["worst_ms"] for each in parts) / 1000, 1),
        "journals_verified_in": len(parts),
    }


def _verified(client: httpx.Client) -> Iterator[dict[str, Any]]:
    """Verify the journals from their first record to the end, as the page does; yield each question's time."""
    path, done = "/api/audit?anew=true", False
    while not done:
        asked, answer = _asked(client, path, 1)
        yield asked
        path = "/api/audit"
        journals = answer.json()
        done = all(each["done"] for each in journals)
        assert not any(each["first_break"] for each in journals)


def _asked(
    client: httpx.Client, path: str, repeats: int, forget: Callable[[], None] = lambda: None
) -> tuple[dict[str, Any], httpx.Response]:
    """Ask a question so often. Return its times, and the last answer; of an export the time to its first part."""
    took = []
    for _ in range(repeats):
        forget()
        began = time.perf_counter()
        with client.stream("GET", path) as answer:
            if "/export/" in path:
                next(answer.iter_raw(), b"")
            else:
                answer.read()
            took.append((time.perf_counter() - began) * 1000)
    median, worst = statistics.median(took), max(took)
    row = {"path": path, "status": answer.status_code, "bytes": answer.num_bytes_downloaded,
           "first_ms": round(took[0], 1), "median_ms": round(median, 1), "worst_ms": round(worst, 1)}  # fmt: skip
    return row, answer


def token_of(folder: Path) -> str:
    """Make an administrator with an API token."""
    accounts = Accounts(folder / "data" / WEB_FOLDER)
    name = f"bench-{os.getpid()}"
    _, once = accounts.add_user(name, Role.ADMINISTRATOR, "bench")
    who = accounts.of_session(accounts.sign_in(name, once, "here"))
    assert who is not None
    accounts.change_password(who, once, PASSWORD, "here")
    _, secret = accounts.add_token(accounts.find(name), "bench", Role.ADMINISTRATOR, accounts.now() + 86_400)
    accounts.close()
    return str(secret)


@click.command()
@click.option("--products", default=WEEK, show_default=True, help="One a second, up to now.")
@click.option("--repeats", default=3, show_default=True, help="Of each question.")
@click.option("--database", default="sqlite", show_default=True, help="As in [projection].")
@click.option(
    "--cold", type=click.Path(exists=True, path_type=Path), help="The database's file or folder: out of memory."
)
@click.option("--folder", type=click.Path(path_type=Path), help="Kept; one that is there is asked as it is.")
def week(products: int, repeats: int, database: str, cold: Path | None, folder: Path | None) -> None:
    """A week's history: how long the projection takes, how big it is, and how fast each page answers."""
    with tempfile.TemporaryDirectory(prefix="procvision-week-") as name:
        folder = folder or Path(name) / "line"
        report: dict[str, Any] = {"products": products, "load": os.getloadavg()}
        ended = folder / "end.txt"
        if not ended.exists():
            list(make_station(folder, port=0))
            if database != "sqlite":
                with (folder / "station.toml").open("a") as file:
                    file.write(f'\n[projection]\ndatabase = "{database}"\n')
            end = datetime.now(UTC).replace(microsecond=0)
            began = time.monotonic()
            count = write_journal(folder / "data" / "journal" / "main", products, end, 1)
            size = sum(path.stat().st_size for path in (folder / "data" / "journal").rglob("*.seg"))
            seconds = round(time.monotonic() - began, 1)
            report["journal"] = {"records": count, "megabytes": round(size / 1e6, 1), "seconds": seconds}
            report["projection"] = build(folder, database)
            ended.write_text(end.isoformat())
        read_station(folder)
        report["pages"] = ask_all(folder, products, datetime.fromisoformat(ended.read_text()), repeats, cold)
        report["tables"] = len(metadata.tables)
    print(json.dumps(report, indent=2))
    sys.exit(1 if report["pages"]["above_300_ms"] or report["pages"]["wrong"] else 0)
