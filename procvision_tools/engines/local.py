"""Processes of this machine: no dependency, no port. One worker is this process itself.

A worker is `python -m procvision_tools.engines.local_worker` at the other end of a socket pair: it gets the work and
shards as pickles and answers each. Its end of the pair tells both that the other is gone, so that no worker outlives
the command by more than a picture, and a worker that dies has its shard given to a new one.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from threading import Event
from types import TracebackType
from typing import Any

from attrs import define

from procvision_runner.exit_causes import described
from procvision_tools.engines.protocol import MAX_TRIES, Done, EngineError, Lost, Work, one_thread

POLL_S = 0.2
"""How often the end is looked for while nothing comes."""
BUSY_S = 1.0
"""So long a worker that is at a picture may take to see that it has to end; then it is asked by SIGTERM."""
END_S = 20.0
"""So long a worker's hosts may take to end; then it is killed, and its hosts end by themselves."""


def make(address: str | None, jobs: int | None) -> LocalEngine:
    """Make the engine of `--engine local`. Raises EngineError for an address."""
    if address is not None:
        raise EngineError(f"local://{address}: the local engine has no address\nhint: --engine local --jobs N")
    return LocalEngine(1 if jobs is None else jobs)


class LocalEngine:
    """Maps with so many processes; with one worker, in this process."""

    def __init__(self, jobs: int = 1) -> None:
        if jobs < 1:
            raise ValueError(f"there is at least one worker, asked for are {jobs}")
        self.jobs = jobs

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: workers end with their map."""

    def map(self, work: Work, shards: Sequence[Any], cancelled: Event) -> Iterator[Done | Lost]:
        """Yield outcomes as they come; see `Engine`."""
        if not shards:
            return
        if self.jobs == 1:
            yield from _here(work, shards, cancelled)
            return
        team = _Team(work, min(self.jobs, len(shards)))
        try:
            yield from team.map(shards, cancelled)
        finally:
            team.end()


def _here(work: Work, shards: Sequence[Any], cancelled: Event) -> Iterator[Done]:
    with work.open() as worked:
        for number, shard in enumerate(shards):
            if cancelled.is_set():
                return
            result = worked(shard, cancelled.is_set)
            if cancelled.is_set():
                return
            yield Done(number, result)


@define(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    number: int | None = None
    """Of the shard that it has; None while it makes ready, or waits."""
    ready: bool = False


def _ended(worker: _Worker, within_s: float) -> bool:
    try:
        worker.process.wait(within_s)
    except subprocess.TimeoutExpired:
        return False
    return True


class _Team:
    """The workers of one map."""

    def __init__(self, work: Work, size: int) -> None:
        self._work = work
        self._workers: list[_Worker] = []
        self._tries: Counter[int] = Counter()
        self._deaths_before_ready = 0
        self._environment = {**os.environ, **one_thread()}
        for _ in range(size):
            self._hire()

    def map(self, shards: Sequence[Any], cancelled: Event) -> Iterator[Done | Lost]:
        open_numbers = deque(range(len(shards)))
        left = len(shards)
        while left:
            if cancelled.is_set():
                return
            for connection in wait([worker.pipe for worker in self._workers], POLL_S):
                worker = next(worker for worker in self._workers if worker.pipe is connection)
                try:
                    kind, told = worker.pipe.recv()
                except (EOFError, OSError):
                    outcome = self._bury(worker, open_numbers)
                    if outcome is not None:
                        left -= 1
                        yield outcome
                    continue
                if kind == "raised":
                    raise told
                if kind == "done" and worker.number is not None:
                    left -= 1
                    number, worker.number = worker.number, None
                    self._give(worker, shards, open_numbers)
                    yield Done(number, told)
                else:
                    worker.ready = True
                    self._give(worker, shards, open_numbers)
            for worker in self._workers:
                if worker.ready and worker.number is None:
                    self._give(worker, shards, open_numbers)

    def end(self) -> None:
        """Let all workers stop at their next picture, and wait for them."""
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.pipe.send(None)
        for worker in self._workers:
            if worker.number is not None and not _ended(worker, BUSY_S):
                worker.process.terminate()
        for worker in self._workers:
            if not _ended(worker, END_S):
                worker.process.kill()
                worker.process.wait()
            worker.pipe.close()
        self._workers = []

    def _hire(self) -> None:
        ours, theirs = Pipe()
        command = [sys.executable, "-P", "-m", "procvision_tools.engines.local_worker", str(theirs.fileno())]
        try:
            # Not in the terminal's group: Ctrl-C is this process's to pass on.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=2, pass_fds=(theirs.fileno(),), process_group=0,
                env=self._environment,
            )  # fmt: skip
        except OSError as error:
            ours.close()
            raise EngineError(f"{sys.executable} can't be started as a worker: {error.strerror}") from error
        finally:
            theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        with contextlib.suppress(OSError):  # one that is dead already is buried by its end of file
            worker.pipe.send(self._work)

    def _give(self, worker: _Worker, shards: Sequence[Any], open_numbers: deque[int]) -> None:
        if open_numbers:
            worker.number = open_numbers.popleft()
            with contextlib.suppress(OSError):
                worker.pipe.send(shards[worker.number])

    def _bury(self, worker: _Worker, open_numbers: deque[int]) -> Lost | None:
        self._workers.remove(worker)
        worker.pipe.close()
        status = worker.process.wait()
        number = worker.number
        if number is None:
            self._deaths_before_ready += 1
            if self._deaths_before_ready >= MAX_TRIES:
                raise EngineError(f"{MAX_TRIES} workers ended before they had a shard: the last {described(status)}")
        self._hire()
        if number is None:
            return None
        self._tries[number] += 1
        if self._tries[number] >= MAX_TRIES:
            return Lost(number, f"{MAX_TRIES} workers ended over it: the last {described(status)}")
        open_numbers.appendleft(number)
        return None
