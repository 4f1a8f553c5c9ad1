"""A host's loop without a process around it, and an algorithm that says what it was given."""

from __future__ import annotations

import mmap
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from procvision_host.algorithm.call_checker import CallChecker
from procvision_host.algorithm.images import Images
from procvision_host.algorithm.sessions import GuardedSessions, Sessions
from procvision_host.algorithm.worker import Worker
from procvision_host.builtin.mapped_slots import MappedSlots
from procvision_host.builtin.memory_store import MemorySessionStore
from procvision_host.conversation.main_loop import Loop
from procvision_host.conversation.steady_calls import CORE, SteadyCalls
from procvision_host.halves.cell import Records
from procvision_host.halves.messages import Plan
from procvision_host.halves.records import ANSWERED, AnswerRecord
from procvision_host.halves.ring import Ring
from procvision_host.logs import LogContext
from procvision_host.process.shared_page import SharedPage
from procvision_sdk import BaseAlgorithm, Ng, Ok, Session
from procvision_sdk.compiled import compiled
from procvision_sdk.images.layout import ARENA_SCHEME, SlotHeader, parse_arena_id, write_header
from procvision_sdk.manifest.model import Manifest
from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.frames import FrameSplitter, frame
from procvision_sdk.wire.messages import AlgorithmName, AnyMessage, Call
from procvision_sdk.wire.tables import HostStatus, Role

AREA = {"x": 0, "y": 0, "width": 1, "height": 1}
MANIFEST = msgspec.convert(
    {
        "name": "echo",
        "version": "1.0",
        "entry_point": "echo:Echo",
        "supported_pids": ["A", "B"],
        "reads_picture": False,
        "steps": [
            {"index": 1, "name": "one", "params": []},
            {
                "index": 2,
                "name": "two",
                "params": [
                    {"key": "level", "type": "float", "min": 0, "max": 1, "default": 0.5},
                    {"key": "area", "type": "rect", "default": AREA},
                    {"key": "name", "type": "string", "default": ""},
                ],
            },
        ],
    },
    Manifest,
)
WIDTH, HEIGHT, GENERATION = 4, 3, 8
IMAGE = f"arena:0:65536:{GENERATION}"
LATENCY = re.compile(rb'"latency_ms":[0-9.]+')


class Echo(BaseAlgorithm):
    """Says what it was given, remembers how often, and spoils whatever it can."""

    def execute(
        self,
        step_index: int,
        pid: str,
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> Any:
        told = [step_index, pid, session.id, dict(session.context), dict(user_params), shared_mem_id, dict(image_meta)]
        count = session.get("calls", 0)
        session.set("calls", count + 1)
        self.diagnostics.publish("told", [*told, count])
        for lent in (user_params, image_meta):
            assert isinstance(lent, dict)
            lent["spoilt"] = True
        if "area" in user_params:
            user_params["area"]["x"] = -1
        if step_index == 1:
            return {"status": "OK", "data": {"result_status": "OK"}} if count % 2 else Ok()
        if count % 3 == 0:
            raise RuntimeError("now and then")
        return Ng("a scratch", [{"x": 0, "y": 0, "width": 1, "height": 1, "label": "s", "score": 1}])


class Slots(MappedSlots):
    """One slot."""

    def map_slot(self, shared_mem_id: str) -> tuple[mmap.mmap, int, int]:
        _, _, generation = parse_arena_id(shared_mem_id)
        memory = mmap.mmap(-1, 8192)
        write_header(memory, SlotHeader(GENERATION, WIDTH, HEIGHT, "RGB", "raw", WIDTH * HEIGHT * 3))
        return memory, 8192, generation


class Ends:
    """Descriptors that nobody closes, and a guardian that hears everything."""

    __slots__ = ("_reopened", "_written", "answers", "control", "frames_in", "frames_out", "wake")

    def __init__(self) -> None:
        self.frames_in, self._written = os.pipe()
        self.answers, self.frames_out = os.pipe()
        self.control, self.wake = os.pipe()
        self._reopened = False
        os.set_blocking(self.answers, False)

    def verify(self) -> bool:
        return True

    def mend(self) -> bool:
        return False

    def notify_guardian(self, notice: bytes) -> None:
        """Nobody listens."""

    def wake_reader(self, request: bytes) -> None:
        """Nobody waits."""

    def close(self) -> None:
        for descriptor in (self.frames_in, self._written, self.answers, self.frames_out, self.control, self.wake):
            os.close(descriptor)


class Channel:
    """Takes records that are too large for the ring."""

    def __init__(self) -> None:
        self.records: list[tuple[int, bytes]] = []

    def ask(self, question: str, kind: int, data: bytes) -> None:
        assert question == "record"
        self.records.append((kind, data))


class Host:
    """A host's loop without a process around it. With a `plan`, what observers are told is put down in a small ring."""

    def __init__(
        self, kind: str, plan: Plan | None = None, ring_bytes: int = 4096, sessions: Sessions | None = None
    ) -> None:
        self.ends = Ends()
        self.ring, self.channel = Ring(ring_bytes), Channel()
        self.records = None if plan is None else Records(plan, self.ring, self.ends, self.channel)  # type: ignore[arg-type]
        connection = Connection(Role.HOST, now=0.0, max_frame_bytes=4096)
        connection.hello_was_written()
        self.loop = Loop(self.ends, connection, SharedPage(), shutdown_grace_s=3.0, drain_timeout_s=10.0)  # type: ignore[arg-type]
        algorithm = Echo()
        sessions = sessions or GuardedSessions(MemorySessionStore(), 1000)
        self.worker = Worker(
            algorithm,
            MANIFEST,
            Images({ARENA_SCHEME: Slots}),
            sessions if self.records is None else self.records.sessions(sessions),
            CallChecker(MANIFEST),
            LogContext(),
            {},
        )
        self.loop.made(algorithm.cancellation)
        self.loop.loaded(AlgorithmName(name="echo"), "1")
        self.loop._worker, self.loop._answered = self.worker, self._answered
        if self.records is not None:
            self.loop.record(self.records)
        self.take: Callable[[bytes], object] = self.loop.conversation.take
        if kind == "python":
            self.take = SteadyCalls(self.loop, self.worker).take
        elif kind == "compiled":
            self.use_core()
        self.take(frame(b'{"type":"hello","runner_version":"1.0"}'))

    def use_core(self) -> None:
        """Have the compiled core take what comes."""
        parts, page = SteadyCalls(self.loop, self.worker).parts(), memoryview(self.loop.board.memory)
        self.core = compiled(CORE).SteadyCalls(parts, page, self.loop.conversation.connection.max_frame_bytes)
        self.take = self.core.take

    def answers(self, data: bytes) -> list[bytes]:
        """Take bytes, execute what waits, and return the payloads that were written, but for the time that it took."""
        self.take(data)
        conversation = self.loop.conversation
        while conversation.waiting:
            call = self.loop._next_call()
            assert call is not None
            self.loop.finish(call, self.worker.run(call))
        assert conversation.running is None
        assert conversation.status.now in (HostStatus.READY, HostStatus.DRAINING)
        try:
            written = os.read(self.ends.answers, 1 << 16)
        except BlockingIOError:
            return []
        return [LATENCY.sub(b"", payload) for payload in FrameSplitter().feed(written)]

    def _answered(self, call: Call, answer: AnyMessage, elapsed_ms: float) -> None:
        self.worker.answered(call, answer, elapsed_ms)
        if self.records is not None:
            self.records.flush()

    def told(self) -> list[str]:
        """Return what observers are told since the last time, but for times; those are held to what they can be."""
        found = [*self.ring.take(), *self.channel.records]
        self.channel.records.clear()
        return [_told(kind, data) for kind, data in found]


def _told(kind: int, data: bytes) -> str:
    if kind != ANSWERED:
        return repr((kind, msgspec.msgpack.decode(data)))
    record = AnswerRecord(data)
    assert 0 <= record.elapsed_ms < MINUTE_S * 1e3
    assert abs(record.ended_at_ns - time.time_ns()) < MINUTE_S * 1e9
    answer = record.answer()
    if isinstance(answer.get("data", {}).get("debug"), dict):
        answer["data"]["debug"].pop("latency_ms", None)
    return repr((record.call(), answer, record.failed, record.diagnostics))


MINUTE_S = 60
