"""A station as its command runs it, for an hour: what each of its processes has in memory, and every ERROR's reason.

What looks is a process of its own: nothing of it counts. Pictures are kept and deleted again after a while, so that
all that works beside a line works; a client asks the page what a browser asks.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import psutil

from benchmarks.ours import PLUGIN
from benchmarks.station.pace import MARKS, slope
from benchmarks.station.week import token_of
from procvision_station.companions import free_port
from procvision_station.exporting import records

ROOT = Path(__file__).parents[2]
STATION = """\
[station]
name = "memory"
[pictures]
keep_ok = {keep}
keep_ng = 1
keep_error = 1
ok_days = {days}
free_mb = 0
[web]
port = {port}
[lines.main]
recipe = "bench"
deadline_ms = 2000
trigger = {{kind = "interval", every_s = {every_s}}}
cameras = {{top = {{kind = "noise", width = {width}, height = {height}}}}}
outputs = [{{kind = "json-lines", path = "told.jsonl"}}]
"""
RECIPE = 'product = "A"\n[[steps]]\ncamera = "top"\nalgorithm = "bench"\n'
NOISE = "[procvision.cameras]\nnoise = benchmarks.station.noise:NoiseCamera\n"
ASKED = ("/api/lines", "/api/products?limit=50", "/api/statistics/counts?by=quarter")
ASK_EVERY_S = 2.0
MEGABYTE = 1e6


def memory_of(process_id: int) -> dict[str, float]:
    """Return resident, proportional and private memory of a process, in megabytes."""
    text = Path(f"/proc/{process_id}/smaps_rollup").read_text()
    found = {name: int(kilobytes) * 1024 / MEGABYTE for name, kilobytes in re.findall(r"(?m)^(\w+):\s+(\d+) kB", text)}
    return {"rss": found["Rss"], "pss": found["Pss"], "anonymous": found["Anonymous"]}


def samples_of(station: psutil.Process) -> dict[str, dict[str, float]]:
    """Return the memory of each process of a station, by what it is and its number."""
    found: dict[str, dict[str, float]] = {}
    for each in [station, *station.children(recursive=True)]:
        with contextlib.suppress(psutil.Error, OSError):
            words = each.cmdline()
            name = next((name for name, mark in MARKS.items() if mark in words), "other")
            found[f"{'line' if each == station else name} {each.pid}"] = memory_of(each.pid)
    return found


@click.command()
@click.option("--minutes", default=60.0, show_default=True)
@click.option("--per-second", default=10.0, show_default=True)
@click.option("--size", default=(1920, 1080), show_default=True, type=(int, int), help="Of pictures: width, height.")
@click.option("--keep", default=0.25, show_default=True, help="The share of pictures that is kept.")
@click.option("--for-seconds", default=120.0, show_default=True, help="So long a kept picture stays.")
@click.option("--sample-s", default=10.0, show_default=True)
@click.option("--samples", type=click.Path(path_type=Path), help="Every sample goes here, as JSON lines.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the station lies; left out, a temporary one.")
def memory(
    minutes: float,
    per_second: float,
    size: tuple[int, int],
    keep: float,
    for_seconds: float,
    sample_s: float,
    samples: Path | None,
    folder: Path | None,
) -> None:
    """A station by its command at a pace: the memory of each process over time, and why products were ERROR."""
    with tempfile.TemporaryDirectory(prefix="procvision-memory-", dir=folder) as name:
        home, port = Path(name) / "line", free_port()
        written = {
            home / "recipes" / "bench.toml": RECIPE,
            home / "station.toml": STATION.format(
                keep=keep, days=for_seconds / 86400, port=port, every_s=1 / per_second, width=size[0], height=size[1]
            ),
            Path(name) / "noise-1.0.dist-info" / "METADATA": "Metadata-Version: 2.1\nName: noise\nVersion: 1.0\n",
            Path(name) / "noise-1.0.dist-info" / "entry_points.txt": NOISE,
        }
        for path, text in written.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        paths = [str(ROOT), str(PLUGIN), name, os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        token = token_of(home)
        command = [sys.executable, "-P", "-m", "procvision_tools", "station", "run", str(home)]
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) as station:
            try:
                with _a_browser(port, token):
                    points = _watched(psutil.Process(station.pid), minutes * 60, sample_s, samples)
            finally:
                station.terminate()
                ended = station.wait(60)
        report = {"ended": ended, "memory_mb": _slopes(points), **_products(home)}
    print(json.dumps({"load": os.getloadavg(), "per_second": per_second, "size": size, **report}, indent=2))


@contextlib.contextmanager
def _a_browser(port: int, token: str) -> Iterator[None]:
    """Ask what an open page asks, and hear its live stream, within the block."""
    stop = threading.Event()

    def get(path: str, kind: str = "application/json") -> Any:
        headers = {"Authorization": f"Bearer {token}", "Accept": kind}
        return urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers), None, 30
        )

    def ask() -> None:
        while not stop.wait(ASK_EVERY_S):
            for path in ASKED:
                with contextlib.suppress(OSError), get(path) as answer:
                    answer.read()

    def hear() -> None:
        while not stop.wait(1.0):
            with contextlib.suppress(OSError), get("/api/live", "text/event-stream") as stream:
                for _ in stream:
                    if stop.is_set():
                        return

    threads = [threading.Thread(target=each, daemon=True) for each in (ask, hear)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()


Points = dict[str, list[tuple[float, dict[str, float]]]]


def _watched(station: psutil.Process, seconds: float, sample_s: float, samples: Path | None) -> Points:
    points: Points = {}
    began = time.monotonic()
    while (at := time.monotonic() - began) < seconds and station.is_running():
        seen = samples_of(station)
        for name, found in seen.items():
            points.setdefault(name, []).append((at, found))
        if samples is not None:
            with samples.open("a") as file:
                file.write(json.dumps({"at_s": round(at, 1), "load": os.getloadavg()[0], **seen}) + "\n")
        time.sleep(sample_s)
    return points


def _slopes(points: Points) -> dict[str, Any]:
    """Return, of each process that lived long, where its memory began and ended, and its slopes an hour."""
    report: dict[str, Any] = {}
    for name, found in points.items():
        if len(found) < 20:
            continue
        report[name] = {}
        for kind in ("rss", "pss", "anonymous"):
            values = [(at, seen[kind]) for at, seen in found]
            report[name][kind] = {"first": round(values[0][1], 1), "last": round(values[-1][1], 1)}
            for part, of in (("", values), (" of the second half", values[len(values) // 2 :])):
                of_hour, error = slope(of)
                report[name][kind][f"slope an hour{part}"] = f"{of_hour} +- {error}"
    return report


def _products(home: Path) -> dict[str, Any]:
    """Count the verdicts, and the reasons of each ERROR with the seconds in which they came."""
    verdicts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    events: Counter[str] = Counter()
    for each in records("main", home / "data" / "journal" / "main"):
        if each["kind"] == "product":
            verdicts[each["told"]] += 1
        if each.get("told") == "ERROR":
            reasons[f"{each.get('triggered_at', '')[:19]} {each['reason']}"] += 1
        events[each.get("event", each["kind"])] += 1
    return {"verdicts": verdicts, "errors": reasons, "records": events}
