"""What an operator sees live: events as they come, and below them how each supervisor is doing.

station = Supervisor("pcb-compare")  # or a Pool, before it is started
with watching(station) as view, station:
    ...
    view.show(text)  # anything else that is to be printed: it scrolls by, above what is drawn

On a terminal the last lines are drawn anew twice a second: state, process id, calls in the host and waiting, memory and
CPU of the process tree, counters, latency percentiles of each phase. Anywhere else every event is a line of JSON, and
so is, every `interval_s`, a `snapshot` of each supervisor. A spare host has its line, and its snapshot, below theirs.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

import attrs
import click

from procvision_runner.supervision import events
from procvision_runner.supervision.pool import Pool
from procvision_runner.supervision.spare import Spare
from procvision_runner.supervision.supervisor import Supervisor
from procvision_sdk.jsontext import json_text
from procvision_tools.report.text import columns, printable

DRAW_INTERVAL_S = 0.5
"""Slow enough to be read, fast enough to be called live."""
SNAPSHOT_INTERVAL_S = 5.0
"""As often as a host's memory is measured by default."""
_COLOURS = {"ready": "green", "broken": "red", "given up": "red", "stopped": "yellow"}
_QUIET = (events.Executing, events.Measured)
"""Events that a terminal shows in its counters only."""
_VERDICTS = {"OK", "NG"}


class LiveView:
    """A listener that shows what it hears, and draws or writes the numbers from a thread of its own."""

    def __init__(self, shown: Sequence[Supervisor | Spare], stream: TextIO, *, drawn: bool, interval_s: float) -> None:
        self._shown = shown
        self._stream = stream
        self._drawn = drawn
        self._interval_s = interval_s
        self._json = events.JsonLines(stream)
        self._lock = threading.Lock()
        self._lines_drawn = 0
        self._pinned: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="procvision-live", daemon=True)

    def __call__(self, event: events.Event) -> None:
        """Show an event; a call that went well shows in the counters alone."""
        if not self._drawn:
            with self._lock:
                self._json(event)
        elif not _is_quiet(event):
            self.show(event_line(event))

    def show(self, text: str) -> None:
        """Print text above what is drawn."""
        with self._lock:
            self._erase()
            self._write(text + "\n")
            self._draw()

    def pin(self, text: str) -> None:
        """Keep text above the numbers, whatever scrolls by, until another takes its place."""
        with self._lock:
            self._pinned = text.splitlines()
            if self._drawn:
                self._erase()
                self._draw()

    def start(self) -> None:
        """From now on the numbers are shown, too."""
        self._thread.start()

    def stop(self) -> None:
        """Show the numbers a last time."""
        self._stop.set()
        self._thread.join()
        self._refresh()

    def _repeat(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._refresh()

    def _refresh(self) -> None:
        with self._lock:
            if self._drawn:
                self._erase()
                self._draw()
            else:
                for one in self._shown:
                    encoding = getattr(self._stream, "encoding", None) or "utf-8"
                    self._write(json_text(snapshot_record(one), encoding=encoding) + "\n")
                self._flush()

    # --- drawing, under the lock ----------------------------------------------------------------------------

    def _erase(self) -> None:
        if self._lines_drawn:
            # So many lines up, then everything below is cleared.
            self._write(f"\x1b[{self._lines_drawn}F\x1b[J")
            self._lines_drawn = 0

    def _draw(self) -> None:
        if self._drawn:
            width = shutil.get_terminal_size().columns - 1
            pinned = ["", *(_fitted(line, width) for line in self._pinned)] if self._pinned else []
            lines = [*pinned, "", *(line for one in self._shown for line in status_lines(one, width))]
            self._write("".join(f"{line}\n" for line in lines))
            self._lines_drawn = len(lines)
        self._flush()

    def _write(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        with contextlib.suppress(OSError, ValueError):  # a reader that went, a stream that was closed
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def _flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


@contextlib.contextmanager
def watching(
    station: Supervisor | Pool, stream: TextIO | None = None, *, drawn: bool | None = None, interval_s: float = 0.0
) -> Iterator[LiveView]:
    """Show what happens to `station` for as long as the block lasts.

    `stream` is stdout by default; `drawn` says whether it takes cursor movements (None: if it is a terminal).
    """
    stream = sys.stdout if stream is None else stream
    drawn = stream.isatty() if drawn is None else drawn
    shown: list[Supervisor | Spare] = [*station.supervisors] if isinstance(station, Pool) else [station]
    if station.spare is not None:
        shown.append(station.spare)
    interval_s = interval_s or (DRAW_INTERVAL_S if drawn else SNAPSHOT_INTERVAL_S)
    view = LiveView(shown, stream, drawn=drawn, interval_s=interval_s)
    station.bus.add(view)
    view.start()
    try:
        yield view
    finally:
        view.stop()


def _is_quiet(event: events.Event) -> bool:
    return isinstance(event, _QUIET) or (isinstance(event, events.CallEnded) and event.outcome in _VERDICTS)


def event_line(event: events.Event) -> str:
    """Return an event as one line for a person."""
    fields = event.as_dict()
    name = str(fields.pop("event")).replace("_", " ")
    instant = time.strftime("%H:%M:%S", time.localtime(fields.pop("timestamp_ms") / 1000))
    source = printable(str(fields.pop("source")))
    told = ", ".join(f"{key} {printable(_worded(value))}" for key, value in fields.items() if value is not None)
    return f"{instant}  {source}  {click.style(name, bold=True)}  {told}".rstrip()


def _worded(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def status_lines(one: Supervisor | Spare, width: int) -> list[str]:
    """Return how a supervisor or a spare is doing, in lines of at most `width` characters."""
    snapshot = one.snapshot()
    state = str(one.state)
    told = []
    if one.process_id is not None:
        told.append(f"process {one.process_id}")
    if isinstance(one, Supervisor):
        told.append(f"{one.admission.in_host} in the host, {one.admission.waiting} waiting")
    usage = snapshot.usage
    if usage is not None:
        told.append(f"memory {usage.memory_bytes / 1e6:.1f} MB, {usage.processes} processes")
        told.append(f"CPU {snapshot.cpu_percent:.0f} %")
    if one.broken_because:
        told.append(printable(one.broken_because))
    if isinstance(one, Supervisor) and one.waiting_because:
        told.append(printable(one.waiting_because))
    name = printable(one.name)
    head = _cut(f"{name}  {state}  {'   '.join(told)}", width)
    if len(name) + 2 + len(state) <= width:
        coloured = click.style(state, fg=_COLOURS.get(state, "yellow"), bold=True)
        head = head[: len(name) + 2] + coloured + head[len(name) + 2 + len(state) :]
    counted = "   ".join(f"{key.replace('_', ' ')} {value}" for key, value in _ordered(snapshot.counters.items()))
    lines = [head]
    if counted or isinstance(one, Supervisor):
        lines.append(_cut(f"  {counted or 'no calls yet'}", width))
    for phase, latency in sorted(snapshot.latencies.items()):
        text = (
            f"  {phase:<8} p50 {latency.p50_ms:.1f} ms   p90 {latency.p90_ms:.1f} ms   p99 {latency.p99_ms:.1f} ms   "
            f"max {latency.max_ms:.1f} ms   of the last {latency.calls}"
        )
        lines.append(_cut(text, width))
    return lines


def _ordered(counters: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Sort calls first, then the rest by name."""
    return sorted(counters, key=lambda item: (not item[0].startswith("calls"), item[0]))


def _fitted(line: str, width: int) -> str:
    """Give a styled line that takes one line of the terminal: without its styles where it has to be cut."""
    plain = click.unstyle(line)
    if columns(plain) <= width:
        return line
    while plain and columns(plain) > width - 1:
        plain = plain[:-1]
    return f"{plain}…"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def snapshot_record(one: Supervisor | Spare) -> dict[str, Any]:
    """Return how a supervisor or a spare is doing, ready for JSON."""
    snapshot = one.snapshot()
    usage = snapshot.usage
    calls = {"in_host": one.admission.in_host, "waiting": one.admission.waiting} if isinstance(one, Supervisor) else {}
    return {
        "event": "snapshot",
        "timestamp_ms": time.time_ns() // 1_000_000,
        "source": one.name,
        "state": str(one.state),
        "broken_because": one.broken_because,
        "waiting_because": one.waiting_because if isinstance(one, Supervisor) else None,
        "process_id": one.process_id,
        **calls,
        "counters": dict(snapshot.counters),
        "latencies": {phase: attrs.asdict(latency) for phase, latency in snapshot.latencies.items()},
        "memory_bytes": usage.memory_bytes if usage is not None else None,
        "processes": usage.processes if usage is not None else None,
        "cpu_percent": round(snapshot.cpu_percent, 1),
    }
