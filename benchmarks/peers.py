"""What people would use instead, doing the same: a request, a picture, one byte of every 64 KiB read, an answer.

Each is optional: one whose package isn't installed is left out and named.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.floors import payload
from benchmarks.measure import Once
from benchmarks.pictures import picture

STRIDE = 64 * 1024
ANSWER = {"type": "result", "request_id": "call-1234", "status": "OK", "data": {"result_status": "OK"}}

Peer = Callable[[int, int], AbstractContextManager[Once]]


def touched(data: Any) -> int:
    """Reads one byte of every 64 KiB."""
    return int(np.frombuffer(data, np.uint8)[::STRIDE].sum())


# --- multiprocessing ------------------------------------------------------------------------------------------


def _multiprocessing_peer(connection: Any, name: str | None) -> None:
    memory = shared_memory.SharedMemory(name) if name else None
    while (call := connection.recv()) is not None:
        if memory is not None:
            touched(memory.buf)
        connection.send({**ANSWER, "request_id": call["request_id"]})
    if memory is not None:
        memory.close()


@contextmanager
def by_multiprocessing(width: int, height: int) -> Iterator[Once]:
    """multiprocessing.Pipe and one SharedMemory that is kept."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    memory = shared_memory.SharedMemory(create=True, size=width * height * 3) if width else None
    peer = context.Process(target=_multiprocessing_peer, args=(theirs, memory.name if memory else None))
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


# --- ZeroMQ ---------------------------------------------------------------------------------------------------


def _zmq_peer(address: str) -> None:
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
        socket.send(msgspec.json.encode({**ANSWER, "request_id": call["request_id"]}))


@contextmanager
def by_zeromq(width: int, height: int) -> Iterator[Once]:
    """pyzmq over ipc, the picture as the second part of the message."""
    import zmq

    with tempfile.TemporaryDirectory() as folder:
        address = f"ipc://{folder}/socket"
        peer = multiprocessing.get_context("spawn").Process(target=_zmq_peer, args=(address,))
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


# --- gRPC -----------------------------------------------------------------------------------------------------


def _grpc_peer(address: str, ready: Any, leave: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    def handle(request: bytes, _: Any) -> bytes:
        length = int.from_bytes(request[:4], "big")
        call = msgspec.json.decode(request[4 : 4 + length])
        if len(request) > 4 + length:
            touched(memoryview(request)[4 + length :])
        return msgspec.json.encode({**ANSWER, "request_id": call["request_id"]})

    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.max_receive_message_length", -1)])
    methods = {"Call": grpc.unary_unary_rpc_method_handler(handle)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Peer", methods),))
    server.add_insecure_port(address)
    server.start()
    ready.set()
    leave.wait()
    server.stop(0)


@contextmanager
def by_grpc(width: int, height: int) -> Iterator[Once]:
    """gRPC unary over a unix socket, the picture in the message."""
    import grpc

    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{folder}/socket"
        ready, leave = context.Event(), context.Event()
        peer = context.Process(target=_grpc_peer, args=(address, ready, leave))
        peer.start()
        ready.wait(20)
        with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel:
            method = channel.unary_unary("/bench.Peer/Call")
            source = picture(width, height) if width else None
            call = payload(width, height)

            def once() -> None:
                body = msgspec.json.encode(call)
                request = len(body).to_bytes(4, "big") + body
                method(request if source is None else request + source.tobytes())

            yield once
        leave.set()
        peer.join(10)


# --- iceoryx2 -------------------------------------------------------------------------------------------------

_MESSAGE_BYTES = 4096
"""Room for the request or the answer at the head of a sample; the picture lies behind it."""


class _Iceoryx:
    """One end: samples one way, samples the other way, and an event that tells of each."""

    def __init__(self, name: str, end: str, picture_bytes: int) -> None:
        import iceoryx2 as iox2

        iox2.set_log_level(iox2.LogLevel.Error)
        self._iox2 = iox2
        self._node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
        there, back = ("call", "answer") if end == "runner" else ("answer", "call")
        out, into = self._samples(f"{name}/{there}"), self._samples(f"{name}/{back}")
        room = _MESSAGE_BYTES + (picture_bytes if end == "runner" else 0)
        self._publisher = out.publisher_builder().initial_max_slice_len(room).create()
        self._subscriber = into.subscriber_builder().create()
        self._notifier = self._events(f"{name}/{there}").notifier_builder().create()
        self._listener = self._events(f"{name}/{back}").listener_builder().create()

    def _samples(self, name: str) -> Any:
        service = self._node.service_builder(self._iox2.ServiceName.new(name))
        return service.publish_subscribe(self._iox2.Slice[ctypes.c_uint8]).open_or_create()

    def _events(self, name: str) -> Any:
        return self._node.service_builder(self._iox2.ServiceName.new(name)).event().open_or_create()

    def send(self, message: bytes, source: Any = None) -> None:
        """A message, with a picture behind it."""
        room = _MESSAGE_BYTES + (source.nbytes if source is not None else 0)
        sample = self._publisher.loan_slice_uninit(room)
        data = (ctypes.c_uint8 * room).from_address(sample.payload_ptr)
        head = len(message).to_bytes(4, "big") + message
        ctypes.memmove(data, head, len(head))
        if source is not None:
            np.frombuffer(data, np.uint8, source.nbytes, _MESSAGE_BYTES).reshape(source.shape)[...] = source
        sample.assume_init().send()
        self._notifier.notify()

    def receive(self) -> bytes:
        """The next message; what lies behind it is touched."""
        while True:
            sample = self._subscriber.receive()
            if sample is not None:
                break
            self._listener.blocking_wait()
        payload = sample.payload()
        head = ctypes.string_at(sample.payload_ptr, _MESSAGE_BYTES)
        length = payload.len()
        if length > _MESSAGE_BYTES:
            touched((ctypes.c_uint8 * length).from_address(sample.payload_ptr))
        sample.delete()
        return head[4 : 4 + int.from_bytes(head[:4], "big")]


def _iceoryx_peer(name: str, ready: Any) -> None:
    end = _Iceoryx(name, "host", 0)
    ready.set()
    while (call := msgspec.json.decode(end.receive())) is not None:
        end.send(msgspec.json.encode({**ANSWER, "request_id": call["request_id"]}))


@contextmanager
def by_iceoryx(width: int, height: int) -> Iterator[Once]:
    """iceoryx2, woken by events, the picture in the sample."""
    name = f"procvision-bench/{os.getpid()}/{width}"
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    end = _Iceoryx(name, "runner", width * height * 3)
    peer = context.Process(target=_iceoryx_peer, args=(name, ready))
    peer.start()
    ready.wait(20)
    source = picture(width, height) if width else None
    call = payload(width, height)

    def once() -> None:
        end.send(msgspec.json.encode(call), source)
        msgspec.json.decode(end.receive())

    try:
        yield once
    finally:
        end.send(b"null")
        peer.join(10)


# --- the field's SDK ------------------------------------------------------------------------------------------


@contextmanager
def by_field_sdk(width: int, height: int) -> Iterator[Once]:
    """procvision-algorithm-sdk's adapter with its own shared memory, which is files."""
    from procvision_algorithm_sdk.shared_memory import write_image_array_to_shared_memory

    # Its default folder for pictures is on disk; one in memory is the kinder comparison.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        os.environ["PROC_SHM_DIR"] = folder
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        command = [
            sys.executable,
            "-m",
            "procvision_algorithm_sdk.adapter",
            "--entry",
            "benchmarks.field_algorithm:Bench",
        ]
        peer = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment,
        )
        assert peer.stdin is not None
        assert peer.stdout is not None
        reading = peer.stdout

        def receive() -> Any:
            length = int.from_bytes(reading.read(4), "big")
            return json.loads(reading.read(length))

        def send(message: dict[str, object]) -> None:
            assert peer.stdin is not None
            body = json.dumps(message).encode()
            peer.stdin.write(len(body).to_bytes(4, "big") + body)

        receive()
        send({"type": "hello", "runner_version": "1.0"})
        source = picture(width, height) if width else None
        fields = payload(width, height)
        name = str(fields.get("shared_mem_id", ""))

        def once() -> None:
            if source is not None:
                write_image_array_to_shared_memory(name, source)
            send({"type": "call", "request_id": "call-1234", "data": fields})
            answer = receive()
            if answer["status"] != "OK":
                raise RuntimeError(f"the field's SDK answered {answer}")

        try:
            yield once
        finally:
            send({"type": "shutdown"})
            peer.wait(10)
            peer.stdin.close()
            peer.stdout.close()


PEERS: dict[str, tuple[str, Peer]] = {
    "multiprocessing": ("multiprocessing", by_multiprocessing),
    "pyzmq ipc": ("zmq", by_zeromq),
    "grpc unix unary": ("grpc", by_grpc),
    "iceoryx2 event": ("iceoryx2", by_iceoryx),
    "procvision-algorithm-sdk": ("procvision_algorithm_sdk", by_field_sdk),
}
"""Name to the module that it needs and what opens it."""


def installed() -> tuple[dict[str, Peer], list[str]]:
    """The peers that can run here, and the names of those whose package is missing."""
    there = {name: peer for name, (module, peer) in PEERS.items() if importlib.util.find_spec(module) is not None}
    return there, [name for name in PEERS if name not in there]
