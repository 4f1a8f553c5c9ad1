"""Dask's `distributed`: a cluster that is started here on the loopback address, or one that is there.

A worker's plugin holds the opened work, so that hosts stay warm from shard to shard; a thread of a worker takes one
that is free. No more shards are handed over than there are threads, and results are let go as they come: the
scheduler's memory stays flat, however many there are, and where a worker dies none is blamed that only waited there.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import pickle
import re
import secrets
import socket
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from types import MappingProxyType, TracebackType
from typing import Any, TypeVar

import dask.config
from attrs import frozen
from distributed import Client, Future, LocalCluster, WorkerPlugin, get_worker
from distributed.client import ClosedClientError, FutureCancelledError
from distributed.scheduler import KilledWorker
from importlib_metadata import version

from procvision_tools.engines.protocol import MAX_TRIES, Done, EngineError, Lost, Work, Worked, one_thread

T = TypeVar("T")
LOOPBACK = "127.0.0.1"
OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "distributed.scheduler.allowed-failures": MAX_TRIES - 1,
        # A thread has one shard: of two, the one that only waited would be blamed for the worker's death, too.
        "distributed.scheduler.worker-saturation": 1.0,
        # The scheduler keeps so many of the last messages to each worker, which have the shards in them.
        "distributed.admin.low-level-log-length": 10,
        # A worker that died is started again by its nanny. On a busy machine this takes longer than the 15 s after
        # which the cluster would take the nanny away.
        "distributed.deploy.lost-worker-timeout": "1h",
    }
)
"""Of a cluster that is started here."""
_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<name>[^\s:/@\[\]]+)):(?P<port>[0-9]{1,20})")
"""A name or an IPv4 address, or an IPv6 address in brackets, and a port."""
HIGHEST_PORT = 65535
CONNECT_S = 20.0
ANSWER_S = 60.0
"""So long a scheduler may take to answer; a busy one stands still for seconds."""
ALONE_S = 120.0
"""A cluster whose last worker ended may get another one for so long."""
POLL_S = 0.2
"""How often the end is looked for while nothing comes."""


def make(address: str | None, jobs: int | None) -> DaskEngine:
    """Make the engine of `--engine dask` or `dask://HOST:PORT`. Raises EngineError."""
    if address is not None:
        _check_address(address)
    if address is not None and jobs is not None:
        raise EngineError(f"dask://{address} has its own workers\nhint: leave out --jobs")
    return DaskEngine(address, 1 if jobs is None else jobs)


def _check_address(address: str) -> None:
    """Refuse what no scheduler can have, before 20 seconds are waited for it. Raises EngineError."""
    form = _ADDRESS.fullmatch(address)
    if form is None:
        raise EngineError(f"dask://{address} is no address\nhint: dask://HOST:PORT, such as dask://127.0.0.1:8786")
    if not 1 <= int(form["port"]) <= HIGHEST_PORT:
        text = f"dask://{address}: a port is 1 to {HIGHEST_PORT}, this is {form['port']}"
        raise EngineError(f"{text}\nhint: `dask scheduler` prints its address; 8786 unless told otherwise")
    host = form["v6"] or form["name"]
    try:
        socket.getaddrinfo(host, int(form["port"]), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # a label of a name has at most 63 bytes
        text = f"dask://{address}: {host} can't be looked up: {getattr(error, 'strerror', None) or error}"
        raise EngineError(f"{text}\nhint: a name that this machine knows, or an IP address") from error


class DaskEngine:
    """Maps with the workers of a cluster; without an address, of one with so many workers, which ends with it."""

    def __init__(self, address: str | None = None, jobs: int = 1) -> None:
        self._address, self._jobs = address, jobs
        self._where = "the cluster that was started here" if address is None else f"dask://{address}"
        self._stack = ExitStack()
        self._client: Any = None
        self._lost = False
        """Whether the scheduler is gone: then nothing more is asked of it."""

    def __enter__(self) -> DaskEngine:
        # What the library would log with its traces is told by our errors.
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with self._stack as stack:
            where = f"tcp://{self._address}" if self._address is not None else stack.enter_context(_cluster(self._jobs))
            try:
                self._client = stack.enter_context(Client(where, timeout=CONNECT_S, set_as_default=False))
                self._client.wait_for_workers(1, timeout=CONNECT_S)
            except (OSError, TimeoutError) as error:
                text = f"dask://{self._address}: no scheduler with workers answered within {CONNECT_S:g} s: {error}"
                raise EngineError(f"{text}\nhint: dask scheduler, dask worker HOST:PORT") from error
            self._check_versions()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client = None
        self._stack.close()

    def map(self, work: Work, shards: Sequence[Any], cancelled: threading.Event) -> Iterator[Done | Lost]:
        """Yield outcomes as they come; see `Engine`."""
        plugin = _Warm(work, version("procvision"))
        client = self._client
        self._asked(lambda: client.register_plugin(plugin))
        waiting, done = deque(enumerate(shards)), SimpleQueue[int]()
        futures: dict[int, Any] = {}
        left = len(shards)
        try:
            seen_at = time.monotonic()
            while left and not cancelled.is_set():
                threads = sum(self._asked(client.ncores).values())
                seen_at = time.monotonic() if threads else seen_at
                if time.monotonic() - seen_at > ALONE_S:
                    raise EngineError(f"the cluster has no worker any more, since {ALONE_S:g} s")
                for number, shard in itertools.islice(_taken(waiting), max(0, threads - len(futures))):
                    # A key of its own: two shards of the same content are two.
                    packed = zlib.compress(pickle.dumps(shard), 1)
                    future = futures[number] = self._asked(
                        partial(client.submit, _run, plugin.name, packed, key=f"{plugin.name}-{number}", pure=False)
                    )
                    future.add_done_callback(_Told(number, done))
                with contextlib.suppress(Empty):
                    number = done.get(timeout=POLL_S)
                    left -= 1
                    yield self._outcome(number, futures.pop(number))
        finally:
            self._end(plugin.name, list(futures.values()))

    def _outcome(self, number: int, future: Any) -> Done | Lost:
        """Give a shard's outcome. Raises what the work raised."""
        result, error = self._asked(lambda: _fetched(future))
        if isinstance(error, KilledWorker):
            return Lost(number, f"{MAX_TRIES} workers ended over it: {error.last_worker.address} was the last")
        if error is not None:
            raise error
        return Done(number, result)

    def _end(self, name: str, futures: list[Any]) -> None:
        """Let workers stop at their next picture and forget the work; what is in work then closes by itself."""
        client = self._client
        with contextlib.suppress(EngineError):
            if futures:
                self._asked(lambda: client.run(_stop, name, on_error="ignore"))
                self._asked(lambda: client.cancel(futures))
            self._asked(lambda: client.unregister_worker_plugin(name))

    def _check_versions(self) -> None:
        ours = version("procvision")
        for place, theirs in self._asked(lambda: self._client.run(_version, on_error="return")).items():
            if theirs != ours:
                raise _of_another_version(place, theirs, ours)

    def _asked(self, ask: Callable[[], T]) -> T:
        """Ask the cluster something. Raises EngineError where its scheduler is gone, or doesn't answer.

        The library itself would wait for ever for a scheduler that stands still.
        """
        if self._lost or self._client.status != "running":
            raise self._gone()
        told: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

        def run() -> None:
            try:
                told.put((ask(), None))
            except BaseException as error:  # noqa: BLE001 - it is raised below, also a CancelledError of asyncio's
                told.put((None, error))

        threading.Thread(target=run, name="procvision-dask-asking", daemon=True).start()
        try:
            answer, error = told.get(timeout=ANSWER_S)
        except Empty:
            raise self._gone(f"or one of its workers has not answered within {ANSWER_S:g} s") from None
        if isinstance(error, (OSError, ClosedClientError, asyncio.CancelledError, FutureCancelledError)):
            raise self._gone() from error
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]

    def _gone(self, what: str = "is gone") -> EngineError:
        self._lost = True
        text = f"{self._where}: its scheduler {what}"
        return EngineError(f"{text}\nhint: start it, and the command again: what --out has is not made again")


@frozen
class _Told:
    number: int
    done: SimpleQueue[int]

    def __call__(self, _: Future[Any]) -> None:
        self.done.put(self.number)


def _taken(waiting: deque[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    while waiting:
        yield waiting.popleft()


def _fetched(future: Any) -> tuple[Any, Exception | None]:
    """Give a future's result, or what its work raised. Raises what the cluster's own connections raise."""
    try:
        return future.result(), None
    except Exception as error:
        if future.status != "error":  # the client has cancelled it: it lost its scheduler
            raise
        return None, error


@contextmanager
def _cluster(jobs: int) -> Iterator[Any]:
    """Run a scheduler and workers of this machine, all of whose ports are on the loopback address."""
    with (
        dask.config.set(OPTIONS),
        LocalCluster(
            n_workers=jobs, threads_per_worker=1, processes=True, host=LOOPBACK, dashboard_address=f"{LOOPBACK}:0",
            worker_dashboard_address=f"{LOOPBACK}:0", silence_logs=logging.CRITICAL,
            env=one_thread(),
        ) as cluster,
    ):  # fmt: skip
        yield cluster


class _Warm(WorkerPlugin):  # type: ignore[misc]
    """A worker's opened work: as many times as it has threads that ask at once."""

    def __init__(self, work: Work, version: str) -> None:
        self.name = f"procvision-{secrets.token_hex(6)}"
        self._work, self._version = work, version

    def setup(self, worker: Any) -> None:
        self._worker = worker
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._free: list[tuple[ExitStack, Worked]] = []

    def teardown(self, worker: Any) -> None:  # noqa: ARG002
        """Close what is free; what is in use closes itself when its shard ends."""
        self.stop.set()
        with self._lock:
            free, self._free = self._free, []
        for stack, _ in free:
            stack.close()

    def run(self, shard: Any) -> Any:
        """Give a shard's result."""
        with self._lock:
            opened = self._free.pop() if self._free else None
        stack, worked = opened if opened is not None else self._opened()
        with stack:
            result = worked(shard, self.stop.is_set)
            with self._lock:
                if not self.stop.is_set():
                    self._free.append((stack.pop_all(), worked))
        return result

    def _opened(self) -> tuple[ExitStack, Worked]:
        if _version() != self._version:  # a worker that came after the map began
            raise _of_another_version(self._worker.address, _version(), self._version)
        stack = ExitStack()
        return stack, stack.enter_context(self._work.open())


def _run(name: str, packed: bytes) -> Any:
    return get_worker().plugins[name].run(pickle.loads(zlib.decompress(packed)))


def _stop(name: str, dask_worker: Any) -> None:
    plugin = dask_worker.plugins.get(name)
    if plugin is not None:
        plugin.stop.set()


def _of_another_version(place: str, theirs: object, ours: str) -> EngineError:
    text = f"the worker {place} has procvision {theirs}, this is {ours}"
    return EngineError(f"{text}\nhint: install the same version, with the same extras, everywhere")


def _version() -> str:
    return version("procvision")
