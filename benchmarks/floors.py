"""What no design can go below: two Python processes, one pipe each way, one copy of the picture."""

from __future__ import annotations

import itertools
import mmap
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.measure import Once
from benchmarks.pictures import encoded, picture

PEER = Path(__file__).with_name("floor_peer.py")


class Answer(msgspec.Struct):
    """The result's fields, typed as ours are."""

    type: str
    request_id: str
    status: str
    data: dict[str, object]


def payload(width: int, height: int) -> dict[str, object]:
    """A call like the ones that our runner sends."""
    call: dict[str, object] = {
        "type": "call",
        "request_id": "call-1234",
        "phase": "execute",
        "step_index": 1,
        "pid": "A",
        "session": {"id": "0123456789abcdef", "context": {"product_code": "A-1234", "trace_id": "0" * 32}},
    }
    if width:
        call["shared_mem_id"] = "shm:pv-1234-0123456789abcdef:24"
        call["image_meta"] = {"width": width, "height": height, "timestamp_ms": 1700000000000, "color_space": "RGB"}
    return call


def exchange(writing: int, reading: int, call: dict[str, object]) -> Once:
    """One call written, one answer read, with msgspec both ways."""
    encode = msgspec.json.Encoder().encode
    decode = msgspec.json.Decoder(Answer).decode

    def once() -> None:
        body = encode(call)
        os.write(writing, len(body).to_bytes(4, "big") + body)
        decode(memoryview(os.read(reading, 65536))[4:])

    return once


@contextmanager
def pipe(width: int = 0, height: int = 0) -> Iterator[Once]:
    """A round trip; with a size, one copy of such a picture into a warm mapping, which the other end touches."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as segment:
        name = "-"
        if width:
            os.posix_fallocate(segment.fileno(), 0, width * height * 3)
            memory = mmap.mmap(segment.fileno(), width * height * 3)
            target = np.frombuffer(memory, np.uint8).reshape(height, width, 3)
            source = picture(width, height)
            name = segment.name
        peer = subprocess.Popen(
            [sys.executable, str(PEER), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # as our host is: sessions share the processor as groups where others use it too
        )
        assert peer.stdin is not None
        assert peer.stdout is not None
        writing, reading = peer.stdin.fileno(), peer.stdout.fileno()
        exchanged = exchange(writing, reading, payload(width, height))

        def once() -> None:
            target[...] = source
            exchanged()

        try:
            yield once if width else exchanged
        finally:
            peer.stdin.close()
            peer.wait(5)
            peer.stdout.close()


@contextmanager
def copy(width: int, height: int, mappings: int = 1) -> Iterator[Once]:
    """One copy of a picture into a warm mapping; the next copy goes into the next of several."""
    memories = [mmap.mmap(-1, width * height * 3) for _ in range(mappings)]
    targets = itertools.cycle([np.frombuffer(memory, np.uint8).reshape(height, width, 3) for memory in memories])
    source = picture(width, height)

    def once() -> None:
        next(targets)[...] = source

    yield once


@contextmanager
def sqlite_update() -> Iterator[Once]:
    """One row of an SQLite file written anew, in a transaction, as durable as our store's `normal`."""
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "rows.db", isolation_level=None)
        for pragma in ("page_size = 1024", "journal_mode = WAL", "synchronous = normal"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE rows (id TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID")
        connection.execute("INSERT INTO rows VALUES ('one', x'')")
        states = itertools.cycle([bytes(64), bytes(63) + b"1"])
        yield lambda: connection.execute("UPDATE rows SET state = ? WHERE id = 'one'", (next(states),))
        connection.close()


@contextmanager
def decoded(encoding: str, width: int, height: int) -> Iterator[Once]:
    """An encoded picture decoded in this process, with the decoder that the host uses."""
    from procvision_sdk.images.decode import decode
    from procvision_sdk.images.meta import ImageMeta

    data = encoded(encoding, width, height)
    meta = ImageMeta(width=width, height=height, encoding=encoding)  # type: ignore[arg-type]
    yield lambda: decode(data, meta)


@contextmanager
def work(turns: int = 100_000) -> Iterator[Once]:
    """What the busy algorithm does."""
    yield lambda: sum(range(turns))


@contextmanager
def python_start() -> Iterator[Once]:
    """A bare Python's start to its first output; seconds."""
    yield lambda: first_output([sys.executable, "-c", "import os; os.write(1, b'x')"])


def first_output(command: list[str], environment: dict[str, str] | None = None) -> float:
    """Seconds from the launch of a command to its first byte on stdout."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, env=environment
    )
    assert process.stdin is not None
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 65536)
    took = time.perf_counter() - began
    process.stdin.close()
    process.wait(10)
    process.stdout.close()
    return took
