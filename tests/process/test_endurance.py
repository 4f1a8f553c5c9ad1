"""A host that has answered for long is what it was at the beginning: nothing grows with the number of calls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from launching import Launch
from shared_picture import SHM, grey, shared_picture
from wire_client import WireClient, frame

WARM_UP = 100
CALLS = 20_000
AHEAD = 4
"""On their way at once: as many as may wait, so that the pipe is never idle."""
MEMORY_SLACK_BYTES = 2 << 20
"""The 1 MiB of log lines that may wait for an unread stderr, and an allocator's own coming and going; 200 bytes kept of
each call would be 4 MiB."""


class Use(NamedTuple):
    """What a process holds."""

    memory_bytes: int
    descriptors: int
    threads: int
    mappings: int


def use(process_id: int) -> Use:
    """By the kernel's own count."""
    status = Path(f"/proc/{process_id}/status").read_text()
    rss = int(status.partition("RssAnon:")[2].split()[0]) * 1024
    threads = int(status.partition("Threads:")[2].split()[0])
    descriptors = len(os.listdir(f"/proc/{process_id}/fd"))  # noqa: PTH208
    mappings = Path(f"/proc/{process_id}/maps").read_text().count("/dev/shm/")
    return Use(rss, descriptors, threads, mappings)


def run(host: WireClient, frames: list[bytes], count: int) -> None:
    """Sends these frames over and over, some ahead of their answers; each must be answered once."""
    waiting: set[str] = set()
    for number in range(count + AHEAD):
        if number >= AHEAD:
            waiting.remove(host.receive()["request_id"])  # a ping's answer may overtake a call's
        if number < count:
            host.write(frames[number % len(frames)])
            waiting.add(f"c{number % len(frames)}")
    assert not waiting


def test_twenty_thousand_calls_leave_a_host_as_it_was(launch: Launch) -> None:
    """Memory, descriptors, threads, mappings and /dev/shm of both processes, against those after the first hundred.

    Of every kind: with a picture and without, refused ones, exceptions, verdicts with rects, sessions that end and
    sessions that don't, output on stdout, diagnostics, pings in between.
    """
    host = launch("misbehaving", "--log-level", "error", read_stderr=False)
    with shared_picture(grey(), 8, 6) as picture:
        frames = [frame(message) for message in messages(picture.fields)]
        run(host, frames, WARM_UP * len(frames) // 10)
        first = use(host.host), use(host.launched)
        run(host, frames, CALLS)
        last = use(host.host), use(host.launched)
    for then, now in zip(first, last, strict=True):
        assert now.memory_bytes - then.memory_bytes < MEMORY_SLACK_BYTES, (first, last)
        assert now[1:] == then[1:], (first, last)
    assert host.shut_down() == 0
    assert not list(SHM.glob(f"peer-{os.getpid()}-*"))


def messages(picture: dict[str, object]) -> list[dict[str, object]]:
    """One of each kind, with its place as its id."""

    def call(does: str, *, session: str = "s", final: bool = False, **fields: object) -> dict[str, object]:
        params = {"does": does, "count": 2, "text": "endurance"}
        return {
            "type": "call",
            "phase": "execute",
            "step_index": 1,
            "pid": "A",
            "session": {"id": session, "final": final},
            "user_params": params,
            **fields,
        }

    kinds = [
        call("nothing"),
        call("read", **picture),
        call("return-rects"),
        call("remember", session="short"),
        call("recall", session="short", final=True),
        call("raise-plain"),
        call("publish"),
        call("nothing", pid="unknown"),
        call("nothing", shared_mem_id="shm:nowhere:2", image_meta={"width": 1, "height": 1}),
        {"type": "ping"},
    ]
    return [{**kind, "request_id": f"c{place}"} for place, kind in enumerate(kinds)]
