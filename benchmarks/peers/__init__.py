"""What people would use instead, doing the same: a request, a picture, one byte of every 64 KiB read, an answer.

Each is optional: one whose package isn't installed is left out and named. A peer's module imports it when it is used.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager

import attrs

from benchmarks.measure import Once
from benchmarks.peers import field_sdk, grpc_unix, iceoryx, mcp_stdio, multiprocessing_pipe, ray_actor, zeromq


@attrs.frozen
class Peer:
    """`open` takes a picture's width and height, 0 for none; `needs` is the module that has to be installed."""

    name: str
    needs: str
    open: Callable[[int, int], AbstractContextManager[Once]]
    pictures: bool = True
    """Whether it is made for them."""


PEERS = (
    Peer("multiprocessing", "multiprocessing", multiprocessing_pipe.calls),
    Peer("pyzmq ipc", "zmq", zeromq.calls),
    Peer("grpc unix unary", "grpc", grpc_unix.unary),
    Peer("grpc unix stream", "grpc", grpc_unix.stream),
    Peer("iceoryx2 event", "iceoryx2", iceoryx.calls),
    Peer("ray actor", "ray", ray_actor.calls),
    Peer("mcp stdio ping", "mcp", mcp_stdio.ping, pictures=False),
    Peer("mcp stdio tool", "mcp", mcp_stdio.tool, pictures=False),
    Peer("procvision-algorithm-sdk", "procvision_algorithm_sdk", field_sdk.calls),
)


def installed() -> tuple[list[Peer], list[str]]:
    """The peers that can run here, and the names of those whose package is missing."""
    there = [peer for peer in PEERS if importlib.util.find_spec(peer.needs) is not None]
    return there, [peer.name for peer in PEERS if peer not in there]
