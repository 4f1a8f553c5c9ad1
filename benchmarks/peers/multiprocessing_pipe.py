"""The standard library: a pipe, and shared memory that is kept."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import shared_memory
from typing import Any

import numpy as np

from benchmarks.floors import payload
from benchmarks.measure import Once
from benchmarks.peers.common import answer, touched
from benchmarks.pictures import picture


def _peer(connection: Any, name: str | None) -> None:
    memory = shared_memory.SharedMemory(name) if name else None
    while (call := connection.recv()) is not None:
        if memory is not None:
            touched(memory.buf)
        connection.send(answer(call))
    if memory is not None:
        memory.close()


@contextmanager
def calls(width: int, height: int) -> Iterator[Once]:
    """multiprocessing.Pipe and one SharedMemory that is kept."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    memory = shared_memory.SharedMemory(create=True, size=width * height * 3) if width else None
    peer = context.Process(target=_peer, args=(theirs, memory.name if memory else None))
    peer.start()
    target = np.frombuffer(memory.buf, np.uint8).reshape(height, width, 3) if memory else None
    source = picture(width, height) if width else None
    call = payload(width, height)

    def once() -> None:
        if target is not None:
            target[...] = source
        ours.send(call)
        ours.recv()

    try:
        yield once
    finally:
        ours.send(None)
        peer.join(10)
        target = None
        if memory is not None:
            memory.unlink()
