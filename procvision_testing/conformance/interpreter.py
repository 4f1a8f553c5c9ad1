"""Plays one row of a table against a target.

What can only be seen from inside (a connection's state, its events) is asked of targets that show it, and passed
over with the others: what a row says about frames and exit statuses stands without.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from procvision_sdk.wire.frames import frame
from procvision_sdk.wire.greeting import PROTOCOL_VERSION
from procvision_testing.conformance.answers import fault_of_result
from procvision_testing.conformance.patterns import mismatch
from procvision_testing.conformance.rows import STEPS, Row, needed_capabilities
from procvision_testing.conformance.segments import Segments
from procvision_testing.conformance.targets import Inspectable, Target

DEFAULT_PATIENCE_S = 10.0
"""How long a frame, an end or an exit is waited for. A slow machine is not a fault of the protocol."""
DEFAULT_DEADLINE_S = 60.0
"""How long a row may take in all, however many frames it waits for."""

HOST_HELLO = {"type": "hello", "sdk_version": PROTOCOL_VERSION, "capabilities": ["cancel", "info", "reset", "pending"]}
RUNNER_HELLO = {"type": "hello", "runner_version": PROTOCOL_VERSION}


class RowSkippedError(Exception):
    """The row is not for this host; the text says why."""


class ConformanceError(AssertionError):
    """The target did not do what the protocol says.

    ``step`` counts from 1, 0 is what leads to the row's start. ``evidence`` is what the target says of itself.
    """

    def __init__(
        self, reason: str, *, row: Row | None = None, step: int = 0, role: str = "", evidence: str = ""
    ) -> None:
        self.reason, self.row, self.step, self.evidence = reason, row, step, evidence
        super().__init__(
            reason
            if row is None
            else f"{row.table}/{row.id} against a {role}, step {step}: {reason}\n"
            f"  claim: {row.title}\n  reference: {row.paragraph}\n{evidence}"
        )


def run_row(
    row: Row, target: Target, *, patience_s: float = DEFAULT_PATIENCE_S, deadline_s: float = DEFAULT_DEADLINE_S
) -> None:
    """Raise ConformanceError naming the row, the step and the paragraph of the reference.

    Raises RowSkippedError for a row that what the host says of itself makes meaningless.
    ``patience_s`` bounds the wait for one frame, ``deadline_s`` that for the row as a whole.
    """
    if row.inapplicable is not None:
        raise RowSkippedError(row.inapplicable)
    number = 0
    try:
        with Segments(target.arena) as segments:
            player = _Player(target, segments, patience_s, time.monotonic() + deadline_s)
            player.start(row)
            for step in row.steps_for(str(target.role)):
                number += 1
                player.play(step)
    except ConformanceError as failure:
        raise ConformanceError(
            failure.reason, row=row, step=number, role=str(target.role), evidence=target.evidence()
        ) from None


def parts_as_bytes(parts: list[dict[str, Any]]) -> bytes:
    """Return what a table spells as text or hex, each part `times` over."""
    return b"".join(
        (bytes.fromhex(part["hex"]) if "hex" in part else part["text"].encode()) * part.get("times", 1)
        for part in parts
    )


def bytes_to_send(what: Any) -> bytes:
    """Return a message, or a list of messages, payloads and raw bytes, as they go over the pipe."""
    if isinstance(what, dict):
        return frame(msgspec.json.encode(what))
    out = []
    for item in what:
        if "message" in item:
            piece = frame(msgspec.json.encode(item["message"]))
        elif "payload" in item:
            piece = frame(parts_as_bytes(item["payload"]))
        else:
            piece = parts_as_bytes(item["bytes"])
        out.append(piece * item.get("times", 1))
    return b"".join(out)


class _Player:
    def __init__(self, target: Target, segments: Segments, patience_s: float, deadline: float) -> None:
        self._target = target
        self._segments = segments
        self._longest_wait_s = patience_s
        self._deadline = deadline

    @property
    def _patience_s(self) -> float:
        """How long may be waited now."""
        return max(0.0, min(self._longest_wait_s, self._deadline - time.monotonic()))

    def start(self, row: Row) -> None:
        """Lead the target into the state in which the row begins. Raises RowSkippedError by what its hello shows."""
        state = row.start
        if state == "starting":
            return
        if self._target.role == "host":
            hello = self._expect({"type": "hello"})  # its form is the business of the rows about hello
            shown = hello.get("capabilities")
            for capability in needed_capabilities(row):
                if not (isinstance(shown, list) and capability in shown):
                    raise RowSkippedError(f"not applicable: its hello doesn't show `{capability}`")
            if row.tells is not None and hello.get(row.tells) is None and not isinstance(self._target, Inspectable):
                raise RowSkippedError(f"not applicable: its hello doesn't tell `{row.tells}`")
            if state == "open":
                self._target.write(bytes_to_send(RUNNER_HELLO))
        else:
            self._target.write(bytes_to_send(HOST_HELLO))
            if state == "open":
                self._inspectable().ask(RUNNER_HELLO)
                self._expect(RUNNER_HELLO)
        if isinstance(self._target, Inspectable):
            self._target.events.clear()

    def play(self, step: dict[str, Any]) -> None:
        verb = next(key for key in step if key in STEPS)
        getattr(self, f"_{verb}")(step[verb], **{key: step[key] for key in STEPS[verb] if key in step})

    def _inspectable(self) -> Inspectable:
        if not isinstance(self._target, Inspectable):
            raise ConformanceError("this row needs a target that can be asked to send")
        return self._target

    # --- what is done to the target -------------------------------------------------------------------------

    def _send(self, what: Any, chunk_bytes: int = 0) -> None:
        data = bytes_to_send(self._segments.named(what))
        for start in range(0, len(data), chunk_bytes or len(data) or 1):
            self._target.write(data[start : start + (chunk_bytes or len(data))])

    def _ask(self, message: dict[str, Any]) -> None:
        if not self._inspectable().ask(message):
            raise ConformanceError(f"it refused to send {message}")

    def _ask_refused(self, message: dict[str, Any]) -> None:
        if self._inspectable().ask(message):
            raise ConformanceError(f"it sent what it must not: {message}")

    def _segment(self, step: dict[str, Any]) -> None:
        self._segments.lay(step)

    def _slot(self, step: dict[str, Any]) -> None:
        self._segments.lay_into_arena(step)

    def _end(self, _: bool) -> None:
        self._target.end()

    def _signal(self, name: str) -> None:
        self._target.signal(name)

    def _wait_ms(self, duration_ms: int) -> None:
        self._target.wait(duration_ms / 1000)

    # --- what must come of it -------------------------------------------------------------------------------

    def _next(self) -> dict[str, Any] | None:
        return self._target.frame(self._patience_s)

    def _check(self, pattern: dict[str, Any], found: dict[str, Any]) -> None:
        """Raise for what is wrong with a frame; first of all what the row is about."""
        problem = mismatch(pattern, found)
        # The smallest host of our own wire has no algorithm, and so no verdict.
        if problem is None and not isinstance(self._target, Inspectable):
            problem = fault_of_result(found)
        if problem:
            raise ConformanceError(f"{problem}\n  the whole frame: {str(found)[:1000]}")

    def _silence(self) -> str:
        return "no frame came, its output has ended" if self._target.ended(0) else "no frame came in time"

    def _expect(self, pattern: dict[str, Any], times: int = 1) -> dict[str, Any]:
        found: dict[str, Any] | None = None
        for count in range(1, times + 1):
            found = self._next()
            if found is None:
                number = f" (number {count} of {times})" if times > 1 else ""
                raise ConformanceError(f"{self._silence()}, expected {pattern}{number}")
            self._check(pattern, found)
        return found or {}

    def _expect_all(self, patterns: list[dict[str, Any]], beside: Sequence[dict[str, Any]] = ()) -> None:
        missing, allowed = list(patterns), list(beside)
        while missing:
            found = self._next()
            if found is None:
                raise ConformanceError(f"{self._silence()}, still expected (in any order) {missing}")
            fitting = next((pattern for pattern in (*missing, *allowed) if mismatch(pattern, found) is None), None)
            if fitting is None:
                raise ConformanceError(f"{str(found)[:1000]} is none of (in any order) {[*missing, *allowed]}")
            self._check(fitting, found)
            # What has come isn't expected again: so many frames at the most, however many a host sends.
            (missing if fitting in missing else allowed).remove(fitting)

    def _expect_either(self, orders: list[list[dict[str, Any]]]) -> None:
        going = orders
        while all(going):
            found = self._next()
            heads = [order[0] for order in going]
            if found is None:
                raise ConformanceError(f"{self._silence()}, expected one of {heads}")
            going = [order for order in going if mismatch(order[0], found) is None]
            if not going:
                raise ConformanceError(f"{str(found)[:1000]} is none of {heads}")
            self._check(going[0][0], found)
            going = [order[1:] for order in going]

    def _expect_nothing_for_ms(self, duration_ms: int) -> None:
        found = self._target.frame(duration_ms / 1000)
        if found is not None:
            raise ConformanceError(f"expected nothing for {duration_ms} ms, got {str(found)[:1000]}")

    def _expect_event(self, pattern: dict[str, Any]) -> None:
        if isinstance(self._target, Inspectable):
            if not self._target.events:
                raise ConformanceError(f"no event, expected {pattern}")
            problem = mismatch(pattern, self._target.events.pop(0), "event")
            if problem:
                raise ConformanceError(problem)

    def _expect_state(self, state: str) -> None:
        if isinstance(self._target, Inspectable) and self._target.state != state:
            raise ConformanceError(f"its connection is {self._target.state}, expected {state}")

    def _expect_end(self, _: bool) -> None:
        found = self._next()
        if found is not None:
            raise ConformanceError(f"a frame after the last one: {str(found)[:1000]}")
        if not self._target.ended(self._patience_s):
            raise ConformanceError("its output did not end")

    def _expect_exit(self, status: int) -> None:
        found = self._target.exit_status(self._patience_s)
        if found != status:
            raise ConformanceError(f"it exits {found}, expected {status}")
