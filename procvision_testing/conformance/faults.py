"""What a runner is tested with: hosts that misbehave, each by one fault, and what must come of it.

A runner is held by a small program of its user's: it is started with a host's command line as its last arguments, has
the runner launch that host and execute one call, prints `OK`, `NG` or `ERROR` as its last line, and ends. The host
writes down what it hears. A fault holds if the program ended in time with a verdict that is allowed, if every frame
that the host heard was legal where it came, and if no process is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from attrs import frozen

from procvision_sdk.wire.connection import DEFAULT_HANDSHAKE_TIMEOUT_S, Connection
from procvision_sdk.wire.events import Violation
from procvision_sdk.wire.frames import frame
from procvision_sdk.wire.tables import ConnectionState, Role
from procvision_testing.conformance.recording import Recording
from procvision_testing.conformance.rows import Row
from procvision_testing.conformance.scorecard import Outcome

HOST_PROGRAM = Path(__file__).parents[1] / "peers" / "misbehaving_host.py"
VERDICTS = ("OK", "NG", "ERROR")
LEFTOVER_PATIENCE_S = 5.0
"""How long what a runner has killed may take to be gone."""
LINES_SHOWN = 10
_MANY_CALLS = 2**20
"""How many calls wait is the host's affair; whether they are legal is looked at here."""


@frozen
class Fault:
    """One way to misbehave, and the verdicts that a runner may make of it."""

    id: str
    title: str
    paragraph: str
    arguments: tuple[str, ...]
    verdicts: tuple[str, ...] = ("ERROR",)

    @property
    def row(self) -> Row:
        """The fault as a row of the scorecard."""
        return Row(id=self.id, title=self.title, paragraph=self.paragraph, steps=(), roles=("runner",), table="faults")


def _at_a_call(name: str, title: str, paragraph: str, *verdicts: str) -> Fault:
    return Fault(name, title, paragraph, (name,), verdicts or ("ERROR",))


FAULTS: tuple[Fault, ...] = (
    Fault("behaves", "A host that behaves and finds nothing is OK", "result", (), ("OK",)),
    Fault("finds-a-defect", "A host that behaves and finds a defect is NG", "result", ("--verdict", "NG"), ("NG",)),
    Fault("silent", "A host that never says hello is given up", "Life cycle", ("--silent",)),
    Fault("prints-first", "Text before the hello is no hello", "Channels", ("--garbage", "start")),
    Fault("major-version", "A host of another major version is not talked to", "hello", ("--version", "2.0")),
    Fault("setup-crash", "A host that crashes while it loads is an error", "Life cycle", ("--setup-fails", "crash")),
    Fault("setup-error", "An algorithm that doesn't load is an error", "Life cycle", ("--setup-fails", "error")),
    Fault("setup-hang", "An algorithm that never is ready is given up", "Life cycle", ("--setup-fails", "hang")),
    _at_a_call("crash", "A crash in a call is an error", "Exit statuses"),
    _at_a_call("abort", "An abort in a call is an error", "Exit statuses"),
    _at_a_call("exit", "A host that leaves in a call is an error", "Exit statuses"),
    _at_a_call("hang", "A call that is never answered ends", "Heartbeat"),
    _at_a_call("hang-deaf", "A host that hears nothing any more is given up", "Heartbeat"),
    _at_a_call("garbage", "Text between the frames is no answer", "Channels"),
    _at_a_call("torn", "Half a frame and the end is no answer", "Frames"),
    _at_a_call("torn-hang", "Half a frame and nothing more is no answer", "Frames"),
    _at_a_call("huge", "A frame of 4 GiB is refused, and not waited for", "Frames"),
    _at_a_call("not-utf8", "An answer that is not UTF-8 is no OK", "Refusals"),
    _at_a_call("no-number", "An answer with NaN in it is no OK", "Refusals"),
    _at_a_call("other-id", "Somebody else's answer is not the call's", "result"),
    _at_a_call("double", "Of two answers the first counts", "result", "OK"),
    _at_a_call("malformed", "A verdict that is neither OK nor NG is an error", "result"),
    _at_a_call("lower-case-verdict", "A verdict of 'ok' is not OK", "result"),
    _at_a_call("no-verdict", "A result without a verdict is an error", "result"),
    _at_a_call("no-data", "A result without data is an error", "result"),
    _at_a_call("verdict-outside-data", "A verdict that stands elsewhere is none", "result"),
    _at_a_call("no-status", "A result without a status is an error", "result"),
    _at_a_call("error-with-verdict", "A result of status ERROR is an error, whatever its verdict", "result"),
    _at_a_call("ng-without-reason", "An NG without its reason never is OK", "result", "NG", "ERROR"),
    _at_a_call("recoverable", "An error that can be retried is an error after the last attempt", "error"),
    _at_a_call("program", "An error that can't be retried is an error", "error"),
    _at_a_call("timeout", "A call that the host gives up is an error", "Error codes"),
    _at_a_call("gpu", "A lack of the accelerator's memory is an error", "Error codes"),
    Fault("no-ids", "A host whose answers have no ids is understood", "Queue and order", ("--outline",), ("OK",)),
    Fault("no-ids-hang", "A call that a host without ids never answers ends", "Queue and order", ("hang", "--outline")),
    Fault("no-ids-double", "Of two answers without ids the first counts, or none", "Queue and order",
          ("double", "--outline"), ("OK", "ERROR")),
    Fault("no-ids-no-verdict", "An answer without id and verdict is an error", "Queue and order",
          ("no-verdict", "--outline")),
    Fault("ignores-shutdown", "A host that doesn't go is ended", "shutdown", ("--ignore-shutdown",), ("OK",)),
    Fault("ignores-sigterm", "A host that ignores SIGTERM is ended", "shutdown",
          ("--ignore-shutdown", "--ignore-sigterm", "--ignore-end"), ("OK",)),
    Fault("leaves-a-child", "A child that holds the pipes holds nobody up", "shutdown", ("--fork-child",), ("OK",)),
    Fault("floods-stderr", "A host that logs without end is still heard", "Channels", ("--flood-stderr",), ("OK",)),
)  # fmt: skip


def host_command(fault: Fault, trace: Path) -> list[str]:
    """Give the command line of the host with this fault. `-S` spares it the packages of this environment."""
    return [sys.executable, "-S", str(HOST_PROGRAM), *fault.arguments, "--trace", str(trace)]


def play_faults(
    command: Sequence[str], faults: Sequence[Fault] = FAULTS, *, deadline_s: float, jobs: int = 1
) -> Iterator[Outcome]:
    """Have the runner behind ``command`` inspect once with each fault; give the outcomes in order.

    Whatever happens, nothing of it is left running. Raises OSError where the command can't be started.
    """
    with tempfile.TemporaryDirectory(prefix="pv-conformance-") as folder, ThreadPoolExecutor(jobs) as executor:
        player = _FaultPlayer(command, Path(folder), deadline_s)
        try:
            yield from executor.map(player.play, faults)
        finally:
            player.stop()


class _FaultPlayer:
    def __init__(self, command: Sequence[str], folder: Path, deadline_s: float) -> None:
        self._command, self._folder, self._deadline_s = command, folder, deadline_s
        self._running: set[subprocess.Popen[bytes]] = set()
        """What isn't collected yet: so long a process's number, which is its group's, is nobody else's."""
        self._collecting = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Play no more, and end what runs."""
        self._stopped = True
        with self._collecting:
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def play(self, fault: Fault) -> Outcome:
        """Play one fault."""
        if self._stopped:
            return Outcome(fault.row, "skipped", "stopped")
        trace = self._folder / f"{fault.id}.trace"
        started = time.monotonic()
        said, status = self._run([*self._command, *host_command(fault, trace)])
        heard = _HostNotes(trace)
        left = _end_leftovers(trace)
        problem = (
            _verdict_problem(fault, said, status, self._deadline_s)
            or heard.problem()
            or (f"{left} of the host's processes were left running" if left else None)
        )
        seconds = time.monotonic() - started
        evidence = "\n".join(["it printed", *said.splitlines()[-LINES_SHOWN:]])
        return Outcome(
            fault.row,
            "ok" if problem is None else "failed",
            problem or "",
            exchanged=heard.exchanged,
            evidence=evidence,
            seconds=seconds,
        )

    def _run(self, command: list[str]) -> tuple[str, int | None]:
        """Return what it printed, and its exit status, None where it had to be killed."""
        with tempfile.TemporaryFile() as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
            with self._collecting:
                self._running.add(process)
            in_time = False
            try:
                in_time = _ends_within(process.pid, self._deadline_s)
            finally:
                if not in_time:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    _ends_within(process.pid, self._deadline_s)
                with self._collecting:
                    self._running.discard(process)
                    ended = process.wait()
            status = ended if in_time else None
            out.seek(0)
            return out.read().decode("utf-8", "replace"), status


def _verdict_problem(fault: Fault, said: str, status: int | None, deadline_s: float) -> str | None:
    if status is None:
        return f"it did not end within {deadline_s:g} s"
    verdicts = [line.strip() for line in said.splitlines() if line.strip() in VERDICTS]
    allowed = " or ".join(fault.verdicts)
    if not verdicts:
        return f"it printed no line that is OK, NG or ERROR, expected {allowed}; it exited with {status}"
    if verdicts[-1] not in fault.verdicts:
        return f"its verdict is {verdicts[-1]}, expected {allowed}"
    return None


class _HostNotes:
    """What the hosts of one fault wrote down; a runner may have started several, one after the other."""

    def __init__(self, trace: Path) -> None:
        lines = trace.read_text("utf-8").splitlines() if trace.exists() else []
        self._notes: list[dict[str, Any]] = [json.loads(line) for line in lines]
        recording = Recording()
        for note in self._notes:
            if "sent" in note:
                recording.stream("host", bytes.fromhex(note["sent"]))
            else:
                recording.payload("runner", bytes.fromhex(note["heard"]))
        self.exchanged = recording.exchanged

    def problem(self) -> str | None:
        """Return which frame was not legal where it came, or None."""
        by_process: dict[int, list[dict[str, Any]]] = {}
        for note in self._notes:
            by_process.setdefault(note["process_id"], []).append(note)
        return next(filter(None, map(_illegal, by_process.values())), None)


def _illegal(notes: list[dict[str, Any]]) -> str | None:
    """Play what one host heard to a connection of our wire, which knows what is legal where."""
    connection = Connection(Role.HOST, now=0.0, max_pending=_MANY_CALLS)
    hello_ms: int | None = None
    for note in notes:
        if "sent" in note:
            if hello_ms is None and b'"hello"' in bytes.fromhex(note["sent"]):
                hello_ms = note["at_ms"]
                connection.hello_was_written()
            continue
        before = connection.state
        for event in connection.receive(frame(bytes.fromhex(note["heard"]))):
            if isinstance(event, Violation):
                return f"the host has to refuse what it heard: {event.kind}: {event.message}"
        greeted = before is ConnectionState.HANDSHAKING and connection.state is ConnectionState.OPEN
        if greeted and hello_ms is not None and note["at_ms"] - hello_ms > DEFAULT_HANDSHAKE_TIMEOUT_S * 1000:
            return f"its hello came {note['at_ms'] - hello_ms} ms after the host's, the bound is 2000"
    return None


def _end_leftovers(trace: Path) -> int:
    """End what still runs with this trace in its command line; give how many did, after some patience."""
    deadline = time.monotonic() + LEFTOVER_PATIENCE_S
    while (left := _processes_with(str(trace))) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process_id in left:
        _kill_with(process_id, str(trace))
    return len(left)


def _kill_with(process_id: int, argument: str) -> None:
    """Kill a process if it still is the one with this argument: another may have got its number."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(process_id)
        try:
            if _has(process_id, argument):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def _ends_within(process_id: int, seconds: float) -> bool:
    """Wait for the end of a child, which isn't collected by that."""
    descriptor = os.pidfd_open(process_id)
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def _processes_with(argument: str) -> list[int]:
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [process_id for process_id in numbers if _has(process_id, argument)]


def _has(process_id: int, argument: str) -> bool:
    try:
        return argument.encode() in Path(f"/proc/{process_id}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
