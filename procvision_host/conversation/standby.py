"""The second thread: it reads in place of the main thread while a call lasts.

It looks every few milliseconds whether a call lasts, so a short one meets no hand-over between threads; while it
reads it answers pings, queues calls, hears cancel and shutdown, and answers for an algorithm whose time is over.
"""

from __future__ import annotations

import logging
import threading
from time import monotonic

from procvision_host import exits
from procvision_host.conversation.shared import Conversation
from procvision_host.logs import HOST_LOGGER
from procvision_host.process.channels import DRAIN_NOTICE, HostEnds
from procvision_sdk.errors import ErrorCode
from procvision_sdk.wire.codec import error_message
from procvision_sdk.wire.messages import Call

TICK_S = 0.02
"""How often it looks; two looks at one call are a call that lasts, so a ping waits 40 ms at most."""
IDLE_TICKS = 50
"""After so many looks at an idle host it sleeps until the next call."""
MEND_S = 0.5
"""How often it looks, while it reads, whether the descriptors are still the host's own."""

_LONGEST_TIMEOUT_MS = 10**12
"""Thirty years; JSON's integers have no bound, the clock's numbers do."""

_log = logging.getLogger(HOST_LOGGER)


class Standby:
    """The second thread. `reads` tells whether it is the one that reads."""

    __slots__ = ("_conversation", "_ends", "_hand_back", "_handed_back", "_stopped", "_wanted", "reads", "sleeps")

    def __init__(self, conversation: Conversation, ends: HostEnds) -> None:
        self._conversation = conversation
        self._ends = ends
        self.reads = False
        self.sleeps = False
        self._hand_back = False
        self._handed_back = threading.Semaphore(0)
        self._wanted = threading.Event()
        self._stopped = False

    # --- for the main thread --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread. It reads from now on."""
        self.reads = True
        threading.Thread(target=self._run, name="procvision-standby", daemon=True).start()

    def wake(self) -> None:
        """Wake the thread, since a call has begun."""
        self._wanted.set()

    def take_over(self) -> None:
        """Read until the end: the main thread won't read again."""
        self.reads = True
        self._wanted.set()

    def give_back(self) -> None:
        """Make the thread stop reading, and wait until it has."""
        with self._conversation.lock:
            if not self.reads:
                return
            self._hand_back = True
        self._ends.wake_reader(b"\n")
        self._handed_back.acquire()
        # It may have opened descriptors again, and only the main thread may say where signals go.
        self._conversation.reader.listen_for_signals()

    def stop(self) -> None:
        """Read nothing any more."""
        self._stopped = True
        self._wanted.set()

    # --- its own --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._stand_by()
        except BaseException:
            # Without it the host would look alive and be deaf: it leaves, and the guardian sees to it.
            _log.exception("the standby failed")
            self._ends.notify_guardian(DRAIN_NOTICE)
            self._conversation.exit_status, self._conversation.draining = exits.ALGORITHM_FAILED, True
            self.reads = False
            self._handed_back.release()
            raise

    def _stand_by(self) -> None:
        conversation = self._conversation
        idle = 0
        seen: Call | None = None
        while not self._stopped:
            if self.reads:
                self._read()
                seen, idle = None, 0
                continue
            running = conversation.running
            if running is not None and running is seen:
                with conversation.lock:
                    if conversation.running is running:
                        self.reads = True
                continue
            idle = 0 if running is not None else idle + 1
            seen = running
            if idle < IDLE_TICKS:
                self._wanted.wait(self._until_next_look())
                continue
            self.sleeps = True
            if conversation.running is None:
                self._wanted.wait()
            self.sleeps = False
            self._wanted.clear()
            idle = 0

    def _until_next_look(self) -> float:
        """Return TICK_S, or less if the running call's time is over earlier."""
        deadline = self._deadline()
        return TICK_S if deadline is None else min(TICK_S, max(0.0, deadline - monotonic()))

    def _read(self) -> None:
        conversation = self._conversation
        while not self._stopped:
            conversation.reader.pump(self._patience(), suspicious=True)
            self._enforce_deadlines(monotonic())
            with conversation.lock:
                if self._hand_back:
                    self._hand_back = self.reads = False
                    self._handed_back.release()
                    return

    def _patience(self) -> float | None:
        """Return the seconds until the running call's time is over, or the descriptors have to be checked."""
        deadline = self._deadline()
        return MEND_S if deadline is None else min(MEND_S, max(0.0, deadline - monotonic()))

    def _deadline(self) -> float | None:
        conversation = self._conversation
        running = conversation.running
        if running is None or conversation.abandoned:
            return None
        deadlines = []
        if running.timeout_ms is not None and running.timeout_ms > 0:
            deadlines.append(conversation.running_since + min(running.timeout_ms, _LONGEST_TIMEOUT_MS) / 1000)
        if conversation.draining:
            deadlines.append(conversation.drain_time.call_until)
        return min(deadlines, default=None)

    def _enforce_deadlines(self, now: float) -> None:
        """Answer in place of an algorithm that doesn't. What it returns later is dropped."""
        conversation = self._conversation
        with conversation.lock:
            deadline, running = self._deadline(), conversation.running
            if deadline is None or running is None or now < deadline:
                return
            conversation.abandoned = True
            conversation.cancellation.requested = True
            if conversation.draining and now >= conversation.drain_time.call_until:
                answer = error_message(
                    ErrorCode.CANCELLED,
                    "draining",
                    f"the host is leaving and the call did not end within {conversation.drain_time.call_time_s:.3g} s",
                    request_id=running.request_id,
                    retryable=True,
                )
            else:
                answer = error_message(
                    ErrorCode.TIMEOUT,
                    "timeout",
                    f"the algorithm did not answer within the call's timeout_ms of {running.timeout_ms}",
                    request_id=running.request_id,
                    retryable=True,
                )
            conversation.answer_instead = conversation.write_answer(answer, running)
