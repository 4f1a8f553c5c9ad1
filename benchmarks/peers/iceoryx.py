"""iceoryx2: samples in shared memory, and events that tell of them."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np

from benchmarks.floors import payload
from benchmarks.measure import Once
from benchmarks.peers.common import answer, touched
from benchmarks.pictures import picture

_MESSAGE_BYTES = 4096
"""Room for the request or the answer at the head of a sample; the picture lies behind it."""


class _End:
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


def _peer(name: str, ready: Any) -> None:
    end = _End(name, "host", 0)
    ready.set()
    while (call := msgspec.json.decode(end.receive())) is not None:
        end.send(msgspec.json.encode(answer(call)))


@contextmanager
def calls(width: int, height: int) -> Iterator[Once]:
    """iceoryx2, woken by events, the picture in the sample."""
    name = f"procvision-bench/{os.getpid()}/{width}"
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    end = _End(name, "runner", width * height * 3)
    peer = context.Process(target=_peer, args=(name, ready))
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
