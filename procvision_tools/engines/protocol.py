"""What an engine is, and which there are.

    work ──┐
    shards ┴─> engine.map ──> Done(number, result) | Lost(number, reason), as they come

A worker opens the work once, keeps what is warm in it, and gives it one shard after the other. Scheduling, retries of
shards whose worker died, and the movement of data are the engine's; what a shard is, is the work's. Neither Dask nor
Ray ends a task that runs: so a work asks `stop` between two pictures, and gives what it has.

An engine of another distribution is an entry point of the group `procvision.engines`: what it names is called with the
address (what stands behind `NAME://`, or None) and the number of workers (or None), and gives an `Engine`.
`procvision_tools.engines.testing` checks one.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from threading import Event
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, TypeAlias

from attrs import frozen

from procvision_sdk.errors import ProcVisionError
from procvision_tools.extras import need

ENGINE_GROUP = "procvision.engines"
MAX_TRIES = 3
"""A shard whose workers died so often is lost: the fourth would die, too."""
BUILT_IN: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "local": ("procvision_tools.engines.local", ""),
        "dask": ("procvision_tools.engines.dask", "distributed"),
    }
)
"""An engine's name -> its module, whose `make` is called, and the library that it needs. They can't be replaced."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
"""How numeric libraries are told how many threads to use; algorithms' processes get them, too."""

Stop: TypeAlias = Callable[[], bool]
"""Whether to end before the next picture. Cheap: it may be asked before each."""
Worked: TypeAlias = Callable[[Any, Stop], Any]
"""Gives a shard's result. Both are pickled."""


class EngineError(ProcVisionError):
    """An engine can't be had, or can't go on. The text ends with a hint."""


class WorkError(EngineError):
    """A work raised an exception that can't be sent; the text has its trace."""


class Work(Protocol):
    """What is done with shards: it is pickled to the workers, which import its class by name."""

    def open(self) -> AbstractContextManager[Worked]:
        """Make ready, once a worker; on leaving, everything of it is gone. What it raises ends the whole map."""


@frozen
class Done:
    """A shard's result."""

    number: int
    """Its place among the shards."""
    result: Any


@frozen
class Lost:
    """A shard that ended `MAX_TRIES` workers."""

    number: int
    reason: str


class Engine(Protocol):
    """Maps shards to results. A context manager: leaving it ends the workers that it started, and no others."""

    def map(self, work: Work, shards: Sequence[Any], cancelled: Event) -> Iterator[Done | Lost]:
        """Yield one outcome for each shard, in any order.

        Once ``cancelled`` is set, workers stop between two pictures, nothing more is begun, and the iterator ends;
        closing it does the same. What the work raises is raised here, and nothing of it runs on then. Raises
        EngineError where there are no workers.
        """

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def one_thread() -> dict[str, str]:
    """Return what tells numeric libraries to use one thread, so that a worker takes one core.

    Where many pictures are to be inspected, more workers use more cores better than threads that wait for each other
    within a picture. What the environment says already stays.
    """
    return {name: "1" for name in THREAD_VARIABLES if name not in os.environ}


def import_numpy() -> None:
    """Import numpy without the threads of its OpenBLAS, which spin for a tenth of a second; no command needs them."""
    told = one_thread()
    os.environ.update(told)
    try:
        importlib.import_module("numpy")
    finally:
        for name in told:
            del os.environ[name]


def open_engine(text: str, jobs: int | None) -> Engine:
    """Make the engine of a name, or of `NAME://ADDRESS`. Raises EngineError."""
    name, scheme, address = text.partition("://")
    if scheme and not address:
        raise EngineError(f"--engine {text} has no address\nhint: {name}://HOST:PORT, or {name} alone")
    if name in BUILT_IN:
        module, library = BUILT_IN[name]
        if library:
            need(library, library, f"--engine {name}", name)
        make = importlib.import_module(module).make
    else:
        make = _added(name)
    try:
        engine: Engine = make(address or None, jobs)
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"the engine {text} can't be made: {type(error).__name__}: {error}") from error
    return engine


def _added(name: str) -> Callable[[str | None, int | None], Engine]:
    from importlib_metadata import entry_points

    found = entry_points(group=ENGINE_GROUP)
    matching = [point for point in found if point.name == name]
    if not matching:
        known = ", ".join(sorted({*BUILT_IN, *found.names}))
        raise EngineError(f"there is no engine {name!r}\nhint: there are {known}")
    if len(matching) > 1:
        owners = " and ".join(point.dist.metadata["Name"] if point.dist is not None else "?" for point in matching)
        raise EngineError(f"the engine {name} is in the distributions {owners}\nhint: uninstall all but one")
    try:
        make: Callable[[str | None, int | None], Engine] = matching[0].load()
    except Exception as error:
        text = f"the engine {name}, {matching[0].value}, can't be imported: {type(error).__name__}: {error}"
        raise EngineError(f"{text}\nhint: reinstall its distribution") from error
    return make
