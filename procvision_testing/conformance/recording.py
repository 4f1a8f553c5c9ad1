"""What went over the pipe while a row was played, kept for the reader of a failure."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec
from attrs import frozen

from procvision_sdk.wire.greeting import HEADER_BYTES
from procvision_sdk.wire.tables import Role
from procvision_testing.conformance.targets import Target

FRAMES_KEPT = 20
"""The last ones are those that show it."""
MAX_SHOWN_CHARS = 600


@frozen
class Exchanged:
    """One frame, or bytes that are none, and how often it came in a row."""

    sender: str
    """`runner` or `host`."""
    text: str
    """Its JSON, cut; for what is no JSON its bytes as Python writes them; for what came to nothing a remark."""
    times: int = 1


class Recording:
    """The last frames of both sides, in order."""

    def __init__(self) -> None:
        self._exchanged: deque[Exchanged] = deque(maxlen=FRAMES_KEPT)

    @property
    def exchanged(self) -> tuple[Exchanged, ...]:
        """What was kept."""
        return tuple(self._exchanged)

    def stream(self, sender: str, data: bytes) -> None:
        """Cut bytes into frames, as a reader would; what is left over is no whole frame."""
        while data:
            end = HEADER_BYTES + int.from_bytes(data[:HEADER_BYTES], "big")
            if len(data) < HEADER_BYTES or len(data) < end:
                self.remark(sender, f"(no whole frame) {data[:MAX_SHOWN_CHARS]!r}")
                return
            self.payload(sender, data[HEADER_BYTES:end])
            data = data[end:]

    def payload(self, sender: str, payload: bytes) -> None:
        """Keep one frame's payload, whatever it is."""
        self.remark(sender, _shown(payload))

    def remark(self, sender: str, text: str) -> None:
        """Keep a text."""
        text = text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}... ({len(text)} characters)"
        last = self._exchanged[-1] if self._exchanged else None
        if last is not None and (last.sender, last.text) == (sender, text):
            self._exchanged[-1] = Exchanged(sender, text, last.times + 1)
        else:
            self._exchanged.append(Exchanged(sender, text))


class RecordedTarget:
    """A target that keeps what is said to it and what it says."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.role = target.role
        self.arena = target.arena
        self._peer = str(Role.RUNNER if target.role is Role.HOST else Role.HOST)
        self._recording = Recording()
        self._written = bytearray()

    @property
    def exchanged(self) -> tuple[Exchanged, ...]:
        """The last frames of both sides, in order."""
        self._keep_written()
        return self._recording.exchanged

    def write(self, data: bytes) -> None:
        """Give it bytes to read."""
        self._written += data
        self._target.write(data)

    def end(self) -> None:
        """End the stream that it reads."""
        self._keep_written()
        self._recording.remark(self._peer, "(end of the stream)")
        self._target.end()

    def signal(self, name: str) -> None:
        """Give it a signal."""
        self._keep_written()
        self._recording.remark(self._peer, f"({name})")
        self._target.signal(name)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._target.wait(seconds)

    def frame(self, patience_s: float) -> dict[str, Any] | None:
        """Give its next frame; None if none comes."""
        self._keep_written()
        found = self._target.frame(patience_s)
        if found is not None:
            self._recording.payload(str(self.role), msgspec.json.encode(found))
        return found

    def ended(self, patience_s: float) -> bool:
        """Return whether its own stream has ended."""
        return self._target.ended(patience_s)

    def exit_status(self, patience_s: float) -> int | None:
        """Give the status it exits with; None while it runs."""
        return self._target.exit_status(patience_s)

    def evidence(self) -> str:
        """Give what the target says of itself."""
        return self._target.evidence()

    def _keep_written(self) -> None:
        """What was written in pieces is cut only when something else happens."""
        data, self._written = bytes(self._written), bytearray()
        self._recording.stream(self._peer, data)


def _shown(payload: bytes) -> str:
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return repr(payload)
    return text if text.isprintable() and text.strip() else repr(payload) if payload else "(a frame of zero length)"
