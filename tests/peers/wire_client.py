"""A runner of bytes: frames made and taken apart here, so that a test of the host doesn't trust our own wire."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PATIENCE_S = 30.0
"""How long a test waits for what must come. No claim about speed: only a host that hangs ever takes it."""


class HostSilentError(AssertionError):
    """What was waited for did not come."""


def frame(message: Mapping[str, Any] | bytes) -> bytes:
    """One frame: a message, or a payload as it is."""
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack(">I", len(payload)) + payload


def eventually(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Waits until `condition` gives something true, and gives that back."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise HostSilentError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.005)
    return found


def lives(process_id: int) -> bool:
    """Whether a process runs; one that only waits to be collected doesn't."""
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZX"


def gone(*process_ids: int) -> None:
    """Waits until none of these processes runs."""
    eventually(lambda: not any(map(lives, process_ids)), f"the end of {process_ids}")


class WireClient:
    """One launched host and its three pipes."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        shake_hands: bool = True,
        read_stderr: bool = True,
    ) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            bufsize=0,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._stdin, self._stdout, self._stderr = self.process.stdin, self.process.stdout, self.process.stderr
        self._incoming = bytearray()
        self._ended = False
        self._calls = 0
        self._held: bytearray | None = None
        self._lines: list[bytes] = []
        self._reader: threading.Thread | None = None
        if read_stderr:
            self._reader = threading.Thread(target=self._read_stderr, daemon=True)
            self._reader.start()
        self.hello: dict[str, Any] = {}
        if shake_hands:
            self.shake_hands()

    def shake_hands(self) -> None:
        """Reads the host's hello and answers it."""
        self.hello = self.receive()
        assert self.hello["type"] == "hello"
        self.send({"type": "hello", "runner_version": "1.0"})

    @property
    def launched(self) -> int:
        """The id of the process that was started."""
        return self.process.pid

    @property
    def host(self) -> int:
        """The id of the process that runs the algorithm."""
        process_id = self.hello["process_id"]
        assert isinstance(process_id, int)
        return process_id

    # --- out ------------------------------------------------------------------------------------------------

    def send(self, message: Mapping[str, Any] | bytes) -> None:
        """Writes one frame."""
        self.write(frame(message))

    def write(self, data: bytes) -> None:
        """Writes bytes, whatever they are."""
        if self._held is not None:
            self._held += data
            return
        view = memoryview(data)
        while view:
            view = view[self._stdin.write(view) or 0 :]

    @contextlib.contextmanager
    def written_at_once(self) -> Iterator[None]:
        """Hold back what is sent in the block, and write it in one piece: the host can't answer in between."""
        self._held = bytearray()
        yield
        data, self._held = bytes(self._held), None
        self.write(data)

    def send_call(self, does: str = "nothing", **fields: Any) -> str:
        """Sends a call to `misbehaving`; returns its request_id."""
        self._calls += 1
        request_id = fields.pop("request_id", f"c{self._calls}")
        params = {"does": does, **fields.pop("params", {})}
        call = {
            "type": "call",
            "request_id": request_id,
            "phase": "execute",
            "step_index": 1,
            "pid": "A",
            "session": {"id": "s"},
            "user_params": params,
            **fields,
        }
        self.send({key: value for key, value in call.items() if value is not None})
        assert isinstance(request_id, str)
        return request_id

    def close_stdin(self) -> None:
        """The end of the runner, as the host sees it."""
        self._stdin.close()

    # --- in -------------------------------------------------------------------------------------------------

    def receive(self, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """The next frame. Raises HostSilentError if none comes, EOFError at the end of stdout."""
        deadline = time.monotonic() + timeout_s
        while (message := self._taken()) is None:
            if self._ended:
                raise EOFError(f"the host's stdout ended; log: {self.logs[-5:]}")
            ready, _, _ = select.select([self._stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise HostSilentError(f"no frame within {timeout_s:g} s; log: {self.logs[-5:]}")
            data = os.read(self._stdout.fileno(), 1 << 16)
            self._incoming += data
            self._ended = not data
        return message

    def _taken(self) -> dict[str, Any] | None:
        if len(self._incoming) < 4:
            assert not (self._ended and self._incoming), f"stdout ended inside a frame: {bytes(self._incoming)!r}"
            return None
        (length,) = struct.unpack_from(">I", self._incoming)
        assert 0 < length <= 64 << 20, f"no frame: {bytes(self._incoming[:80])!r}"
        if len(self._incoming) < 4 + length:
            assert not self._ended, f"stdout ended inside a frame: {bytes(self._incoming[:200])!r}"
            return None
        payload = bytes(self._incoming[4 : 4 + length])
        del self._incoming[: 4 + length]
        message = json.loads(payload)
        assert isinstance(message, dict)
        return message

    def rest(self) -> list[dict[str, Any]]:
        """Every frame up to the end of stdout."""
        messages = []
        while True:
            try:
                messages.append(self.receive())
            except EOFError:
                return messages

    def answer(self, request_id: str) -> dict[str, Any]:
        """The next frame, which must be the answer to this call."""
        message = self.receive()
        assert message["type"] in {"result", "error"}, message
        assert message.get("request_id") == request_id, message
        return message

    def call(self, does: str = "nothing", **fields: Any) -> dict[str, Any]:
        """Sends a call and gives its answer."""
        return self.answer(self.send_call(does, **fields))

    def ping(self, request_id: str = "ping") -> dict[str, Any]:
        """Sends a ping and gives its pong, which must be the next frame."""
        self.send({"type": "ping", "request_id": request_id})
        message = self.receive()
        assert message["type"] == "pong", message
        assert message.get("request_id") == request_id, message
        return message

    def until_state(self, state: str) -> dict[str, Any]:
        """Pings until the host tells this state, and a call that it executes has begun: one about to begin has 0 ms."""

        def reached() -> dict[str, Any] | None:
            pong = self.ping()
            begun = pong.get("executing", {"elapsed_ms": 1})["elapsed_ms"] > 0
            return pong if pong["state"] == state and begun else None

        return dict(eventually(reached, f"state {state}"))

    # --- stderr ---------------------------------------------------------------------------------------------

    def _read_stderr(self) -> None:
        # By large pieces: a line at a time would be read byte by byte, and be the slowest of readers.
        tail = b""
        with contextlib.suppress(ValueError, OSError):
            while data := self._stderr.read(65536):
                *lines, tail = (tail + data).split(b"\n")
                self._lines.extend(lines)
        if tail:
            self._lines.append(tail)

    def start_reading_stderr(self) -> None:
        """For a client that left it unread."""
        assert self._reader is None
        self._reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._reader.start()

    @property
    def logs(self) -> list[dict[str, Any]]:
        """The log so far. Every line of stderr must be a JSON object with the fields that each has."""
        records = []
        for line in list(self._lines):
            record = json.loads(line)
            assert {"timestamp_ms", "level", "message"} <= set(record), record
            records.append(record)
        return records

    def log(self, text: str, **fields: Any) -> dict[str, Any]:
        """Waits for a record with this text and these fields."""

        def found() -> dict[str, Any] | None:
            return next(
                (r for r in self.logs if text in r["message"] and all(r.get(k) == v for k, v in fields.items())), None
            )

        try:
            return dict(eventually(found, f"a record with {text!r} and {fields}"))
        except HostSilentError as error:
            raise HostSilentError(f"{error}; there are {[r['message'][:200] for r in self.logs[-20:]]}") from None

    def whole_log(self) -> list[dict[str, Any]]:
        """The log of a host that has ended."""
        assert self._reader is not None
        self._reader.join(PATIENCE_S)
        assert not self._reader.is_alive()
        return self.logs

    # --- the end --------------------------------------------------------------------------------------------

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """The exit status of the launched process; negative for a signal."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise HostSilentError(f"the host did not end within {timeout_s:g} s; log: {self.logs[-5:]}") from None

    def shut_down(self) -> int:
        """Shutdown, its acknowledgement as the last frame, and the exit status."""
        self.send({"type": "shutdown"})
        last = self.rest()[-1]
        assert last["type"] == "shutdown", last
        return self.wait()

    def close(self) -> None:
        """Ends whatever is left."""
        for process_id in (self.process.pid, self.hello.get("process_id")):
            if process_id is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._stdout.close()
        if self._reader is not None:
            self._reader.join(5)
        self._stderr.close()

    def __enter__(self) -> WireClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
