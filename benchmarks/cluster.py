"""`unshare --net python -m benchmarks.cluster`: a Dask cluster whose hosts are network namespaces of this machine.

    [--pictures N] [--products N] [--json FILE]

Four workers, each in a network namespace of its own on a bridge with the scheduler's, take an archive of tiny pictures.
One is ten times as slow as the others, and stands still for ten seconds; another is killed with its nanny on the way,
as a machine that loses its power.
Told are: whether each picture has one result and the right one, and the scheduler's memory over the way. Then
`procvision requalify --engine dask://…` does the same through hosts, and its report is held against the local engine's.
It needs root, and `ip`. In a namespace of its own nobody else can reach any of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import psutil
from attrs import frozen

from benchmarks.ours import environment
from procvision_tools.engines.dask import DaskEngine
from procvision_tools.engines.protocol import Done, Stop, Worked
from procvision_tools.requalification.archive import Archive, Product, Shot, stored
from procvision_tools.sources.picture_files import look

WORKERS, SLOW, KILLED = 4, 2, 3
STILL_S = 10.0
"""So long the slow one's processes are stopped."""
SLOW_S = 0.002
"""What the slow worker waits at each picture, which the others look at in a tenth of that."""
SIZES = 50
PORT = 8786
NETWORK = "10.77.0"
BIN = Path(sys.executable).parent


@frozen
class Looking:
    """A work: says how wide each product's picture is, as its file says it."""

    @contextmanager
    def open(self) -> Iterator[Worked]:
        """Nothing is kept warm."""
        yield self._looked

    def _looked(self, products: Sequence[Product], stop: Stop) -> list[tuple[str, int]]:
        found = []
        for product in products:
            if stop():
                break
            if os.environ.get("BENCHMARK_SLOW"):
                time.sleep(SLOW_S)
            found.append((product.name, look(Path(product.shots[0].picture.place)).width))
        return found


def ip(*words: str) -> None:
    """Run `ip`."""
    subprocess.run(["ip", *words], check=True)


@contextmanager
def process(words: Sequence[str], log: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process whose whole group ends with the block."""
    with log.open("wb") as out:
        running = subprocess.Popen(words, stdout=out, stderr=out, start_new_session=True, env=environment() | env)
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[int, list[subprocess.Popen[bytes]]]]:
    """Start the scheduler and the workers. Gives the scheduler's process id, and the workers."""
    ip("link", "set", "lo", "up")
    ip("link", "add", "benches", "type", "bridge")
    ip("address", "add", f"{NETWORK}.1/24", "dev", "benches")
    ip("link", "set", "benches", "up")
    with ExitStack() as stack:
        words = [str(BIN / "dask"), "scheduler", "--host", f"{NETWORK}.1", "--port", str(PORT), "--no-dashboard"]
        scheduler = stack.enter_context(process(words, folder / "scheduler.log"))
        workers = []
        for number in range(WORKERS):
            address = f"{NETWORK}.{number + 10}"
            words = [str(BIN / "dask"), "worker", f"{NETWORK}.1:{PORT}", "--host", address, "--nthreads", "1",
                     "--no-dashboard", "--local-directory", str(folder / f"worker{number}")]  # fmt: skip
            begin = f'until ip address | grep -q {address}; do sleep 0.05; done; ip link set lo up; exec "$@"'
            slow = {"BENCHMARK_SLOW": "1"} if number == SLOW else {}
            worker = stack.enter_context(
                process(["unshare", "--net", "sh", "-c", begin, "sh", *words], folder / f"worker{number}.log", **slow)
            )
            time.sleep(0.3)  # until it is in its namespace
            ip("link", "add", f"here{number}", "type", "veth", "peer", "name", "there")
            ip("link", "set", f"here{number}", "master", "benches", "up")
            ip("link", "set", "there", "netns", str(worker.pid))
            inside = ["nsenter", "--target", str(worker.pid), "--net", "ip"]
            subprocess.run([*inside, "link", "set", "there", "up"], check=True)
            subprocess.run([*inside, "address", "add", f"{address}/24", "dev", "there"], check=True)
            workers.append(worker)
        yield scheduler.pid, workers


def pictures(folder: Path, count: int) -> Archive:
    """An archive of products, each a file of its own name; of so many sizes, and links to as many files."""
    from PIL import Image

    folder.mkdir()
    for width in range(SIZES):
        Image.new("L", (8 + width, 8)).save(folder / f"{width:02d}.png")
    files = [stored(folder / f"{width:02d}.png") for width in range(SIZES)]
    products = tuple(Product(f"{at:06d}", (Shot(files[at % SIZES]),)) for at in range(count))
    return Archive(place=str(folder), kind="folder", products=products)


def wait_for_workers(count: int) -> None:
    """Wait until all are there."""
    from distributed import Client

    with Client(f"tcp://{NETWORK}.1:{PORT}", timeout=120, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=300)


def looked(
    archive: Archive, scheduler: int, kill: Callable[[], None], stand_still: Callable[[], None]
) -> dict[str, Any]:
    """Map all shards; kill a worker after a third of them, and stop another for a while after half."""
    memory = psutil.Process(scheduler)
    shards = archive.shards()
    found: dict[str, list[int]] = {}
    outcomes, megabytes = [0] * len(shards), []
    began = time.perf_counter()
    with DaskEngine(f"{NETWORK}.1:{PORT}") as engine:
        for done, outcome in enumerate(engine.map(Looking(), shards, threading.Event()), 1):
            assert isinstance(outcome, Done), outcome
            outcomes[outcome.number] += 1
            for name, width in outcome.result:
                found.setdefault(name, []).append(width)
            if done == len(shards) // 3:
                kill()
            if done == len(shards) // 2:
                stand_still()
            if done % max(1, len(shards) // 20) == 0:
                megabytes.append(round(memory.memory_info().rss / 1e6, 1))
    right = all(found.get(f"{at:06d}") == [8 + at % SIZES] for at in range(len(archive.products)))
    return {
        "pictures": len(archive.products),
        "shards": len(shards),
        "each_has_one_result_and_the_right_one": right and set(outcomes) == {1},
        "took_s": round(time.perf_counter() - began, 1),
        "scheduler_mb": megabytes,
        "load": round(os.getloadavg()[0], 1),
    }


def requalified(folder: Path, products: int, kill: Callable[[], None]) -> dict[str, Any]:
    """`bench` against itself, by the cluster and by this machine's processes: the reports are the same bytes."""
    from PIL import Image

    archive = folder / "products"
    archive.mkdir()
    for at in range(products):
        Image.new("L", (8 + at % SIZES, 8), at % 256).save(archive / f"{at:05d}.png")
    told: dict[str, Any] = {"products": products}
    for name, engine in (("dask", ["dask://" + f"{NETWORK}.1:{PORT}"]), ("local", ["local", "--jobs", "2"])):
        words = [str(BIN / "procvision"), "requalify", "bench-picture", str(archive), "--against", "bench-picture"]
        with process([*words, "--engine", *engine, "--out", str(folder / name)], folder / f"{name}.log") as command:
            if name == "dask":
                results = folder / name / "results"
                while command.poll() is None and len(list(results.glob("*.parquet"))) < 3:
                    time.sleep(0.1)
                kill()
            told[f"{name}_status"] = command.wait()
    reports = [(folder / name / "report.json").read_bytes() for name in ("dask", "local")]
    return told | {"reports_are_the_same": reports[0] == reports[1]}


@click.command()
@click.option("--pictures", "count", default=200_000, show_default=True)
@click.option("--products", default=400, show_default=True, help="Through hosts.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the figures to this file.")
def main(count: int, products: int, json_file: Path | None) -> None:
    """Map an archive with a cluster, one of whose workers is slow, and another is killed."""
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with cluster(folder) as (scheduler, workers):

            def kill(number: int) -> Callable[[], None]:
                return lambda: os.killpg(workers[number].pid, signal.SIGKILL)

            def stand_still() -> None:
                os.killpg(workers[SLOW].pid, signal.SIGSTOP)
                threading.Timer(STILL_S, os.killpg, (workers[SLOW].pid, signal.SIGCONT)).start()

            wait_for_workers(WORKERS)
            told["looked"] = looked(pictures(folder / "pictures", count), scheduler, kill(KILLED), stand_still)
            click.echo(json.dumps(told["looked"]))
            told["requalified"] = requalified(folder, products, kill(0))
            click.echo(json.dumps(told["requalified"]))
    if json_file is not None:
        json_file.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
