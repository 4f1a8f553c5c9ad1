"""gRPC over a unix socket, the picture in the message: a call each, or one stream of them that stays open."""

from __future__ import annotations

import multiprocessing
import os
import queue
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from benchmarks.floors import payload
from benchmarks.measure import Once
from benchmarks.peers.common import answer, touched
from benchmarks.pictures import picture

PATIENCE_S = 20


def _handle(request: bytes) -> bytes:
    length = int.from_bytes(request[:4], "big")
    call = msgspec.json.decode(request[4 : 4 + length])
    if len(request) > 4 + length:
        touched(memoryview(request)[4 + length :])
    return msgspec.json.encode(answer(call))


def _peer(address: str, ready: Any, leave: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.max_receive_message_length", -1)])
    methods = {
        "Call": grpc.unary_unary_rpc_method_handler(lambda request, _: _handle(request)),
        "Calls": grpc.stream_stream_rpc_method_handler(lambda requests, _: map(_handle, requests)),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Peer", methods),))
    server.add_insecure_port(address)
    server.start()
    ready.set()
    leave.wait()
    server.stop(0)


@contextmanager
def _channel() -> Iterator[Any]:
    """To a server in another process."""
    # Nobody makes calls in a fork here; others' launches would each be told of otherwise.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    import grpc

    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{folder}/socket"
        ready, leave = context.Event(), context.Event()
        peer = context.Process(target=_peer, args=(address, ready, leave))
        peer.start()
        ready.wait(PATIENCE_S)
        try:
            with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel:
                yield channel
        finally:
            leave.set()
            peer.join(10)


def _request(width: int, height: int) -> Callable[[], bytes]:
    """Make a call with its picture behind it, as one message."""
    source = picture(width, height) if width else None
    call = payload(width, height)

    def request() -> bytes:
        body = msgspec.json.encode(call)
        message = len(body).to_bytes(4, "big") + body
        return message if source is None else message + source.tobytes()

    return request


@contextmanager
def unary(width: int, height: int) -> Iterator[Once]:
    """A call each."""
    request = _request(width, height)
    with _channel() as channel:
        method = channel.unary_unary("/bench.Peer/Call")
        yield lambda: msgspec.json.decode(method(request()))


@contextmanager
def stream(width: int, height: int) -> Iterator[Once]:
    """One call that stays open, with a message each way for each request."""
    request = _request(width, height)
    with _channel() as channel:
        outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        answers = channel.stream_stream("/bench.Peer/Calls")(iter(outgoing.get, None))

        def once() -> None:
            outgoing.put(request())
            msgspec.json.decode(next(answers))

        yield once
        outgoing.put(None)
