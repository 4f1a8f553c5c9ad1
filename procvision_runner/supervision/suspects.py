"""Pictures that ended a host: one that did so twice in a row is not tried a third time.

The strategy: a host executes calls in their order, so the oldest that it had not answered is what it was at when it
ended. Its picture, and what else the algorithm was given, make a key; twice the same key without an answer in between
makes a suspect. A call is looked up only while some key is known, so on a line that runs well nothing is read.
A host that somebody killed (SIGKILL) or stopped is no picture's fault. A pool's supervisors share what they know.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from procvision_runner.exit_causes import EndKind, HostEnd

if TYPE_CHECKING:
    from procvision_sdk.wire.messages import Call

MAX_ENDS = 2
"""So many hosts may a picture end: the first time may be a coincidence."""
MAX_KEYS = 256
KNOWN_S = 3600.0
"""What was seen longer ago is forgotten: a machine, or a model behind an address, may have been mended since."""
MAX_IN_A_ROW = 5
"""So many suspects without an answered call in between don't count as restarts; an algorithm that dies of every
picture is to be given up like any other that dies again and again."""
_BLAMELESS = frozenset({EndKind.STOPPED, EndKind.NOT_READING})


@attrs.frozen(kw_only=True)
class SuspectPicture:
    """A picture that ended `ends` hosts, and the last call that had it."""

    digest: str
    """BLAKE2b of the picture's bytes, 16 bytes in hex: the same picture has the same."""
    phase: str
    step_index: int | None
    pid: str | None
    session_id: str | None
    width: int | None
    height: int | None
    camera_id: str | None
    timestamp_ms: int | None
    ends: int
    cause: str
    """How the last of the hosts ended."""

    def __str__(self) -> str:
        size = f"{self.width} x {self.height}, " if self.width and self.height else ""
        return f"the picture {self.digest} ({size}product {self.pid!r}, step {self.step_index})"


class Suspects:
    """What is known of pictures that ended hosts. Any thread may."""

    __slots__ = ("_in_a_row", "_known", "_lock", "any")

    def __init__(self) -> None:
        self.any = False
        """Whether there is something to look a call up in."""
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[SuspectPicture, float]] = OrderedDict()
        self._in_a_row = 0

    def ended_by(self, call: Call, payload: Any, end: HostEnd) -> SuspectPicture | None:
        """Note that a host ended while it was at a call. Return what is known now, None if no picture is at fault.

        `payload` is the picture's bytes, None for a call without one.
        """
        if payload is None or end.kind in _BLAMELESS or (end.kind is EndKind.CRASHED and end.signal == "SIGKILL"):
            return None
        key, now = key_of(call, payload), time.monotonic()
        meta = call.image_meta or {}
        with self._lock:
            before = self._known.pop(key, None)
            ends = before[0].ends + 1 if before is not None and now - before[1] < KNOWN_S else 1
            found = SuspectPicture(
                digest=blake2b(payload, digest_size=16).hexdigest(),
                phase=call.phase,
                step_index=call.step_index,
                pid=call.pid,
                session_id=call.session.id if call.session is not None else None,
                width=meta.get("width"),
                height=meta.get("height"),
                camera_id=meta.get("camera_id"),
                timestamp_ms=meta.get("timestamp_ms"),
                ends=ends,
                cause=end.text,
            )
            self._known[key] = found, now
            while len(self._known) > MAX_KEYS:
                self._known.popitem(last=False)
            self.any = True
            if ends == MAX_ENDS:
                self._in_a_row += 1
        return found

    def find(self, key: str) -> SuspectPicture | None:
        """Return the suspect of this key; None if it may be tried."""
        with self._lock:
            known = self._known.get(key)
            if known is None or known[0].ends < MAX_ENDS or time.monotonic() - known[1] >= KNOWN_S:
                return None
            return known[0]

    def pardonable(self) -> bool:
        """Return whether the restarts that the last suspect cost need not count."""
        with self._lock:
            return self._in_a_row <= MAX_IN_A_ROW

    def answered(self, key: str) -> None:
        """Note that a call was answered: its key is no suspect's."""
        with self._lock:
            self._known.pop(key, None)
            self._in_a_row = 0
            self.any = bool(self._known)

    def clear(self) -> None:
        """Forget everything: another version, or somebody has looked."""
        with self._lock:
            self._known.clear()
            self._in_a_row = 0
            self.any = False


def key_of(call: Call, payload: Any) -> str:
    """Return what tells a call's work from another's: picture, product, step and parameters."""
    facts = [call.phase, call.step_index, call.pid, call.user_params, _shape(call)]
    return blake2b(payload, digest_size=16, key=blake2b(msgspec.json.encode(facts)).digest()).hexdigest()


def _shape(call: Call) -> list[Any]:
    meta = call.image_meta or {}
    return [meta.get(name) for name in ("width", "height", "color_space", "encoding", "bits")]
