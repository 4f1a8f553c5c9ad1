"""Waits for bytes on the descriptors of frames and of requests. Either of the two threads may read."""

from __future__ import annotations

import logging
from collections.abc import Callable
from os import read
from select import POLLIN, poll
from threading import current_thread, main_thread
from typing import TYPE_CHECKING

from procvision_host.logs import HOST_LOGGER
from procvision_host.process.channels import HostEnds

if TYPE_CHECKING:
    import signal as _signal
else:  # without the enumerations of `signal`, which nothing here needs
    import _signal

READ_BYTES = 16 * 1024
"""Room for any frame but the rare large one; more would cost a fresh mapping at every read."""

_log = logging.getLogger(HOST_LOGGER)


class Reader:
    """Reads what comes and passes it on: frames' bytes to `take`, the guardian's requests to `take_requests`."""

    __slots__ = ("_ends", "_poll", "_poller", "_take", "_take_requests", "whole")

    def __init__(self, ends: HostEnds, take: Callable[[bytes], None], take_requests: Callable[[bytes], None]) -> None:
        self._ends = ends
        self._take = take
        self._take_requests = take_requests
        self._watch()

    def _watch(self) -> None:
        poller = poll()
        poller.register(self._ends.frames_in, POLLIN)
        poller.register(self._ends.control, POLLIN)
        self._poller = poller
        self._poll = poller.poll
        self.whole = True
        """Whether both descriptors are waited for."""

    def descriptors_changed(self) -> None:
        """Watch the descriptors anew, since some were opened again and have other numbers."""
        _log.warning("the algorithm closed or reused the host's descriptors; they were opened again")
        self.listen_for_signals()
        self._watch()

    def listen_for_signals(self) -> None:
        """Let signals wake the reader. Only the main thread may do this."""
        if current_thread() is main_thread():
            _signal.set_wakeup_fd(self._ends.wake, warn_on_full_buffer=False)

    def frames_ended(self) -> None:
        """Wait for no more frames."""
        self.whole = False
        self._poller.unregister(self._ends.frames_in)

    def pump(
        self, timeout_s: float | None, take: Callable[[bytes], None] | None = None, *, suspicious: bool = False
    ) -> None:
        """Wait for bytes or a request, and pass on what comes: frames' bytes to this `take`, if one is given.

        `suspicious` while a vendor's code is at work: what is ready may be a file of its own.
        """
        try:
            ready = self._poll(None if timeout_s is None else timeout_s * 1000 + 1)
        except BaseException as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            self.interrupted(error)
            return
        ends = self._ends
        if suspicious and ends.mend():
            self.descriptors_changed()
            return
        for descriptor, _ in ready:
            if descriptor == ends.frames_in:
                try:
                    data = read(descriptor, READ_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    # Closed under us by a vendor's thread: found again, or the end.
                    if ends.verify():
                        raise
                    self.descriptors_changed()
                    return
                (take or self._take)(data)
            elif descriptor == ends.control:
                self._read_requests()
            else:
                # It has another number since a log line or a notice found it closed.
                ends.mend()
                self.descriptors_changed()
                return

    @staticmethod
    def interrupted(error: BaseException) -> None:
        """Log what a handler of the algorithm's raised while nothing of the algorithm's ran."""
        _log.error("the algorithm interrupted the host between two calls, by a signal as a rule", exc_info=error)

    def _read_requests(self) -> None:
        try:
            data = read(self._ends.control, 64)
        except BlockingIOError:
            return
        except OSError:
            if not self._ends.mend():
                raise
            self.descriptors_changed()
            return
        if data:
            self._take_requests(data)
        else:
            self.whole = False
            self._poller.unregister(self._ends.control)
