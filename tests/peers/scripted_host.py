"""A host in the test's own process: real pipes, the host's end of the wire, and an end when the test says so.

`ScriptedProcess` stands where a `HostProcess` does. The test plays the host: `hear` what the runner wrote, `say` what a
host answers. Nothing happens by itself, so a test decides every order of events.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.events import Event
from procvision_sdk.wire.messages import AnyMessage, Call, Error, ErrorData, HostHello, Result
from procvision_sdk.wire.tables import Role

PATIENCE_S = 20.0
CAPABILITIES = ["pending", "cancel", "info"]


class ScriptedProcess:
    """The runner's side of a process, and the host's side of its pipes."""

    command = ("scripted-host",)
    process_id = 0

    def __init__(self) -> None:
        self._in, self.stdin = os.pipe()
        self.stdout, self._out = os.pipe()
        self.stderr, self._log = os.pipe()
        os.set_blocking(self.stdin, False)
        self.pidfd = os.eventfd(0)
        self.exit_status: int | None = None
        self.signals: list[str] = []
        """What the runner did to the process, in order."""
        self.ends_at: str | None = "kill"
        """The signal that ends it."""
        self.connection = Connection(Role.HOST, now=time.monotonic(), handshake_timeout_s=0)
        self._events: list[Event] = []
        self._ended = threading.Event()
        self._end_lock = threading.Lock()

    # --- the host plays -------------------------------------------------------------------------------------

    def say(self, *messages: AnyMessage) -> None:
        """Send messages as the host, in one write."""
        self.write(b"".join(self.connection.send(message) for message in messages))

    def write(self, data: bytes) -> None:
        """Send bytes that need be no frame."""
        os.write(self._out, data)

    def log(self, line: str) -> None:
        """Write a line to stderr."""
        os.write(self._log, line.encode() + b"\n")

    def hear(self, kind: type[Any]) -> Any:
        """Return the next message of this class; those of other classes before it are passed over."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            while self._events:
                event = self._events.pop(0)
                if isinstance(event, kind):
                    return event
            poller = select.poll()
            poller.register(self._in, select.POLLIN)
            if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise AssertionError(f"the runner sent no {kind.__name__}")
            self._events += self.connection.receive(os.read(self._in, 65536), time.monotonic())

    def close_stdout(self) -> None:
        """End the stream of frames, and live on."""
        os.close(self._out)
        self._out = os.open(os.devnull, os.O_WRONLY)

    def hears_nothing(self, kind: type[Any], for_s: float = 0.05) -> bool:
        """Tell whether no message of this class comes for a while."""
        poller = select.poll()
        poller.register(self._in, select.POLLIN)
        deadline = time.monotonic() + for_s
        while (left := deadline - time.monotonic()) > 0:
            if poller.poll(left * 1000):
                self._events += self.connection.receive(os.read(self._in, 65536), time.monotonic())
        return not any(isinstance(event, kind) for event in self._events)

    def end(self, status: int) -> None:
        """End the process: its pipes close, its parent is told."""
        with self._end_lock:
            if self.exit_status is not None:
                return
            self.exit_status = status
            for descriptor in (self._in, self._out, self._log):
                os.close(descriptor)
            os.eventfd_write(self.pidfd, 1)
            self._ended.set()

    # --- what a runner does to it ---------------------------------------------------------------------------

    def wait(self, timeout_s: float) -> int | None:
        self._ended.wait(timeout_s)
        return self.exit_status

    def new_oom_kills(self) -> int:
        return 0

    def _signalled(self, name: str, status: int) -> None:
        if self.exit_status is None:
            self.signals.append(name)
            if self.ends_at in (name, "any"):
                self.end(status)

    def terminate(self) -> None:
        self._signalled("terminate", -15)

    def kill_tree(self) -> None:
        self._signalled("kill", -9)

    def close_stdin(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.stdin)

    def release(self) -> None:
        self.close_stdin()
        for descriptor in (self.stdout, self.stderr, self.pidfd):
            os.close(descriptor)


class SupervisedProcess(ScriptedProcess):
    """A process of a supervisor's. It has said hello."""

    deployment = None

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()
        self.say(hello("pending", "arena"))

    @contextlib.contextmanager
    def ended_on_error(self) -> Iterator[None]:
        yield

    def send_signal(self, _number: int) -> None:
        """It has no stacks."""


def hello(*capabilities: str) -> HostHello:
    """The hello of a host that can do what ours can, or what is given."""
    return HostHello(sdk_version="1.0", capabilities=list(capabilities or CAPABILITIES), process_id=os.getpid())


def result(call: Call, **more: Any) -> Result:
    """An answer to a call."""
    return Result(request_id=call.request_id, phase=call.phase, status="OK", **more)


def error(call: Call, code: str, kind: str, *, retryable: bool = False) -> Error:
    """An error in answer to a call."""
    data = ErrorData(kind=kind, retryable=retryable)
    return Error(request_id=call.request_id, message="it went wrong", error_code=code, data=data)


def in_thread(function: Callable[..., Any], *arguments: Any) -> Running:
    """Run a function on a thread of its own."""
    return Running(function, arguments)


class Running:
    """A function on a thread of its own, and its outcome."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function, arguments), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            self._outcome = function(*arguments)
        except BaseException as error:
            self._error = error

    @property
    def done(self) -> bool:
        """Whether it has returned."""
        return not self._thread.is_alive()

    def result(self, timeout_s: float = PATIENCE_S) -> Any:
        """Wait for what it returns, or raise what it raised."""
        self._thread.join(timeout_s)
        assert self.done, "it did not return"
        if self._error is not None:
            raise self._error
        return self._outcome


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"{what}: it never came to that"
        time.sleep(0.002)
