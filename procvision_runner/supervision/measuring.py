"""Measures what a host and all that it started take, and holds it against the limit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from procvision_runner.exit_causes import EndKind
from procvision_runner.supervision.events import Measured
from procvision_runner.supervision.metrics import usage_of

if TYPE_CHECKING:
    from procvision_runner.supervision.journal import Journal
    from procvision_runner.supervision.supervised_host import SupervisedHost

_log = logging.getLogger("procvision.runner")


class Gauge:
    """A duty of the keeper. `of` returns the host to measure, `put_down` ends one."""

    def __init__(
        self,
        journal: Journal,
        of: Callable[[], SupervisedHost | None],
        interval_s: float,
        memory_bytes: int | None,
        put_down: Callable[[SupervisedHost, EndKind, str], None],
    ) -> None:
        self._journal = journal
        self._of = of
        self._interval_s = interval_s
        self._memory_bytes = memory_bytes
        self._put_down = put_down
        self._host: SupervisedHost | None = None
        self._due_at = 0.0

    def look(self, now: float) -> float | None:
        """Measure the host if it is time to. Return the seconds until the next time."""
        host = self._of()
        if host is None:
            return None
        if host is not self._host:
            self._host = host
            self._journal.metrics.new_host()
        elif now < self._due_at:
            return self._due_at - now
        self._due_at = now + self._interval_s
        self._measure(host)
        return self._interval_s

    def _measure(self, host: SupervisedHost) -> None:
        try:
            usage = usage_of(host.process.process_id)
        except OSError as error:
            _log.warning("host %s can't be measured: %s", host.number, error)
            return
        if not usage.processes:
            return
        cpu_percent = self._journal.metrics.measured(usage)
        self._journal.emit(
            Measured,
            host=host.number,
            processes=usage.processes,
            memory_bytes=usage.memory_bytes,
            cpu_percent=round(cpu_percent, 1),
        )
        if self._memory_bytes is not None and usage.memory_bytes > self._memory_bytes:
            text = f"and what it started took {usage.memory_bytes} bytes of memory, allowed are {self._memory_bytes}"
            self._put_down(host, EndKind.OUT_OF_MEMORY, text)
