"""pyzmq: a request and a reply over ipc."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from benchmarks.floors import payload
from benchmarks.measure import Once
from benchmarks.peers.common import answer, touched
from benchmarks.pictures import picture


def _peer(address: str) -> None:
    import zmq

    socket = zmq.Context().socket(zmq.REP)
    socket.bind(address)
    while True:
        parts = socket.recv_multipart(copy=False)
        call = msgspec.json.decode(parts[0].bytes)
        if call is None:
            return
        if len(parts) > 1:
            touched(parts[1].buffer)
        socket.send(msgspec.json.encode(answer(call)))


@contextmanager
def calls(width: int, height: int) -> Iterator[Once]:
    """pyzmq over ipc, the picture as the second part of the message."""
    import zmq

    with tempfile.TemporaryDirectory() as folder:
        address = f"ipc://{folder}/socket"
        peer = multiprocessing.get_context("spawn").Process(target=_peer, args=(address,))
        peer.start()
        socket = zmq.Context().socket(zmq.REQ)
        socket.connect(address)
        source = picture(width, height) if width else None
        call = payload(width, height)

        def once() -> None:
            body = msgspec.json.encode(call)
            socket.send_multipart([body] if source is None else [body, source])
            msgspec.json.decode(socket.recv())

        try:
            yield once
        finally:
            socket.send(b"null")
            peer.join(10)
            socket.close(0)
