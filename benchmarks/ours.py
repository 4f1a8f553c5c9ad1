"""Our runner and our host, with every check on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.floors import exchange, first_output, payload
from benchmarks.measure import Once
from benchmarks.pictures import encoded, picture
from procvision_runner import Pool, Runner, RunnerOptions, Supervisor, SupervisorOptions
from procvision_runner.connection.launch import host_command
from procvision_runner.options import IsolationLevel
from procvision_sdk.images.picture import Picture

PLUGIN = Path(__file__).with_name("plugin")
CONTEXT = {"product_code": "A-1234", "trace_id": "0" * 32}
IN_FLIGHT = 4


def environment() -> dict[str, str]:
    """Ours, with the benchmark's algorithm on the path as if it were installed."""
    path = os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH", "")]))
    # With bytecode kept, as it is where packages are installed: else every start would compile what it imports.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": path}


def runner(isolation: IsolationLevel | None = None) -> Runner:
    """One that isn't started yet."""
    return Runner("bench", options=RunnerOptions(environment=environment(), isolation=isolation))


@contextmanager
def call(
    width: int = 0,
    height: int = 0,
    *,
    color_space: str = "RGB",
    encoding: str = "raw",
    lent: bool = False,
    isolation: IsolationLevel | None = None,
) -> Iterator[Once]:
    """An `execute` through `Runner`: without a picture, with one that is copied, or with one that is in its slot."""
    with runner(isolation) as running:
        session = running.session(CONTEXT)
        image: Any = None
        if encoding != "raw":
            image = Picture.encoded(encoded(encoding, width, height), width, height, encoding=encoding)  # type: ignore[arg-type]
        elif width:
            image = Picture.of(picture(width, height, color_space), color_space=color_space)  # type: ignore[arg-type]

        def with_copy() -> None:
            running.execute(image, pid="A", session=session)

        def with_lent_slot() -> None:
            lease = running.lend(width, height, color_space)  # type: ignore[arg-type]
            running.execute(lease, pid="A", session=session, user_params={"touch": False})

        yield with_lent_slot if lent else with_copy


@contextmanager
def supervised(hosts: int = 0, *, options: RunnerOptions | None = None) -> Iterator[Once]:
    """An `execute` without a picture through a `Supervisor`, or through a `Pool` of so many hosts."""
    given = SupervisorOptions(runner=options if options is not None else RunnerOptions(environment=environment()))
    with Pool("bench", hosts=hosts, options=given) if hosts else Supervisor("bench", options=given) as running:
        session = running.session(CONTEXT)
        yield lambda: running.execute(pid="A", session=session)


@contextmanager
def at_work(width: int, height: int, *, given_back: bool) -> Iterator[Once]:
    """An algorithm that makes arrays of the picture's size, as most do.

    `given_back`: in a host whose memory goes back to the kernel with each of them, as a process's does by default.
    """
    tunables = {"GLIBC_TUNABLES": f"glibc.malloc.mmap_threshold={128 * 1024}"} if given_back else {}
    with Runner("bench", options=RunnerOptions(environment={**environment(), **tunables})) as running:
        yield lambda: running.execute(running.lend(width, height), pid="A", step_index=5)


@contextmanager
def host_alone() -> Iterator[Once]:
    """Our host, driven by the floor's own end: what of the control path is the host's."""
    peer = subprocess.Popen(
        [sys.executable, "-m", "procvision_host", "--algo", "bench"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env=environment(),
        start_new_session=True,
    )
    assert peer.stdin is not None
    assert peer.stdout is not None
    try:
        os.read(peer.stdout.fileno(), 65536)  # its hello
        hello = b'{"type":"hello","runner_version":"1.0"}'
        peer.stdin.write(len(hello).to_bytes(4, "big") + hello)
        yield exchange(peer.stdin.fileno(), peer.stdout.fileno(), payload(0, 0))
    finally:
        peer.stdin.close()
        peer.wait(10)
        peer.stdout.close()


@contextmanager
def pipelined(width: int, height: int) -> Iterator[Once]:
    """A stream of calls with copied pictures, some ahead of their answers: once is one more."""
    with runner() as running:
        session = running.session(CONTEXT)
        image = Picture.of(picture(width, height))
        waiting: deque[Future[Any]] = deque()

        def once() -> None:
            waiting.append(running.submit("execute", image, pid="A", session=session))
            if len(waiting) >= IN_FLIGHT:
                waiting.popleft().result()

        yield once
        for future in waiting:
            future.result()


@contextmanager
def hosts(count: int, turns: int = 100_000) -> Iterator[Once]:
    """Make calls that keep a core busy, one in each of several hosts at the same time."""
    with ExitStack() as stack:
        runners = [stack.enter_context(runner()) for _ in range(count)]
        threads = stack.enter_context(ThreadPoolExecutor(count))

        def work(one: Runner) -> None:
            one.execute(pid="A", step_index=3, user_params={"turns": turns})

        yield lambda: list(threads.map(work, runners))


@contextmanager
def spawn_to_hello() -> Iterator[Once]:
    """From the launch, as a runner does it, to the first frame; seconds."""
    command = host_command("bench", None, RunnerOptions())
    yield lambda: first_output(list(command), environment())


@contextmanager
def spawn_to_ready() -> Iterator[Once]:
    """From the launch to an algorithm that is set up, and to its end."""

    def once() -> None:
        one = runner()
        one.start()
        one.stop()

    yield once
