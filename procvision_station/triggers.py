"""The triggers in the box."""

from __future__ import annotations

import hmac
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from procvision_station.configuration.checking import Problem, check
from procvision_station.kinds import Camera, Fired, KindError, Kinds, look_at
from procvision_tools.sources.folder import Arrivals

POLL_S = 0.1
"""A picture counts when two looks find it unchanged: so it is taken 0.1 to 0.2 s after its last byte."""


class IntervalOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the trigger `interval`."""

    every_s: Annotated[float, Meta(gt=0, le=86_400, description="Seconds from one product to the next")]
    count: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="So many products, then it ends; left out, it goes on")
    ] = None


class IntervalTrigger:
    """A product comes every so many seconds. One that is missed, since the machine slept, is not made up for."""

    options: ClassVar[type[msgspec.Struct]] = IntervalOptions

    def __init__(self, options: IntervalOptions, folder: Path) -> None:  # noqa: ARG002 - the protocol's signature
        self._every_s, self._left = options.every_s, options.count
        self._next = time.monotonic()

    def wait(self, stop: Event) -> Fired | None:
        """Wait for the next moment."""
        if self._left == 0 or stop.wait(max(0.0, self._next - time.monotonic())):
            return None
        self._next = max(self._next + self._every_s, time.monotonic())
        if self._left is not None:
            self._left -= 1
        return Fired()

    def close(self) -> None:
        """Do nothing."""


class FolderOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the trigger `folder`."""

    path: Annotated[str, Meta(min_length=1, description="The folder that pictures arrive in; relative to station.toml")]


class FolderTrigger:
    """A product comes with each picture that arrives whole in a folder. What was there before is left alone."""

    options: ClassVar[type[msgspec.Struct]] = FolderOptions

    def __init__(self, options: FolderOptions, folder: Path) -> None:
        self._arrivals = self._opened(options, folder)
        self._waiting: deque[Path] = deque()

    @classmethod
    def check(cls, options: FolderOptions, folder: Path) -> None:
        """Raise KindError where the folder can't be read."""
        cls._opened(options, folder)

    @staticmethod
    def _opened(options: FolderOptions, folder: Path) -> Arrivals:
        path = folder / options.path
        try:
            return Arrivals(path)
        except OSError as error:
            raise KindError(f"{path} can't be read: {error.strerror or error}\nhint: make the folder first") from error

    def wait(self, stop: Event) -> Fired | None:
        """Wait for the next picture."""
        while not self._waiting:
            try:
                self._waiting += self._arrivals.poll(time.monotonic())
            except OSError as error:
                raise KindError(f"{self._arrivals.folder} can't be read: {error.strerror or error}") from error
            if not self._waiting and stop.wait(POLL_S):
                return None
        return Fired(self._waiting.popleft())

    def close(self) -> None:
        """Do nothing."""


class CameraTriggerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the trigger `camera`."""

    camera: Annotated[dict[str, Any], Meta(description="The camera that triggers: a table with its kind")]
    at_most_per_s: Annotated[
        float, Meta(gt=0, le=1000, description="A picture that comes sooner after the one before is let go")
    ] = 100.0


class CameraTrigger:
    """A product comes with each picture of a camera that runs freely, or is triggered by hardware.

    The line's camera of the kind `trigger` gives this picture.
    """

    options: ClassVar[type[msgspec.Struct]] = CameraTriggerOptions

    def __init__(self, options: CameraTriggerOptions, folder: Path) -> None:
        self._between_s, self._last = 1 / options.at_most_per_s, float("-inf")
        loaded, given = self._wanted(options)
        self._camera: Camera = loaded(given, folder)

    @classmethod
    def check(cls, options: CameraTriggerOptions, folder: Path) -> None:
        """Raise KindError where there is no such camera, or where it lacks something."""
        loaded, given = cls._wanted(options)
        look_at(loaded, given, folder)

    @staticmethod
    def _wanted(options: CameraTriggerOptions) -> tuple[Any, Any]:
        """Return the class of the camera and its options."""
        kind, kinds = options.camera.get("kind"), Kinds.installed()
        if kind not in kinds.of("camera") or kind == "trigger":
            there = ", ".join(sorted(set(kinds.of("camera")) - {"trigger"}))
            raise KindError(f"camera.kind is {kind!r:.60}, which is no camera that triggers\nhint: there are {there}")
        loaded = kinds.load("camera", str(kind))
        if isinstance(loaded, str):
            raise KindError(f"camera.kind: {kind} is installed but broken: {loaded}")
        problems: list[Problem] = []
        table = {key: value for key, value in options.camera.items() if key != "kind"}
        given = check(table, loaded.options, ("camera",), problems)
        if problems:
            raise KindError("; ".join(problem.message for problem in problems))
        return loaded, given

    def wait(self, stop: Event) -> Fired | None:
        """Wait for the next picture."""
        while not stop.is_set():
            picture = self._camera.grab(Fired())
            now = time.monotonic()
            if now - self._last >= self._between_s:
                self._last = now
                return Fired(picture=picture)
            stop.wait(self._last + self._between_s - now)
        return None

    def close(self) -> None:
        """Let go of the camera."""
        self._camera.close()


class HttpTriggerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the trigger `http`."""

    port: Annotated[int, Meta(ge=0, le=65535, description="The port; 0 takes a free one")]
    host: Annotated[str, Meta(min_length=1, description="The address; another than loopback needs a token")] = (
        "127.0.0.1"
    )
    token: Annotated[
        Annotated[str, Meta(min_length=16)] | None,
        Meta(description="What the header Authorization: Bearer has to have; of at least 16 characters"),
    ] = None
    waiting: Annotated[int, Meta(ge=1, le=1000, description="Triggers that wait; one more is answered with 503")] = 16


MAX_TRIGGER_BYTES = 4096
"""A serial number and what stands around it."""
HTTP_TIMEOUT_S = 5.0
"""For a request to come whole: one that doesn't keeps no other waiting."""


class HttpTrigger:
    """A product comes with each POST, which may have JSON with a `serial`. It is answered with 202 when it is taken."""

    options: ClassVar[type[msgspec.Struct]] = HttpTriggerOptions

    def __init__(self, options: HttpTriggerOptions, folder: Path) -> None:
        self.check(options, folder)
        self._fired: Queue[Fired] = Queue(options.waiting)
        handler = type("Handler", (_TriggerHandler,), {"fired": self._fired, "token": options.token})
        try:
            self._server = _TriggerServer((options.host, options.port), handler)
        except OSError as error:
            raise KindError(f"{options.host}:{options.port} can't be listened on: {error.strerror or error}") from error
        self.port = int(self._server.server_address[1])
        """The port that is listened on."""
        self._closed = False
        self._thread = Thread(target=self._server.serve_forever, args=(0.1,), name="procvision-trigger", daemon=True)
        self._thread.start()

    @staticmethod
    def check(options: HttpTriggerOptions, folder: Path) -> None:  # noqa: ARG004 - every kind's signature
        """Raise KindError where others could trigger without a token."""
        if not options.host.startswith("127.") and options.host not in ("localhost", "::1") and options.token is None:
            raise KindError(f'{options.host} is reached by others, and there is no token\nhint: token = "..."')

    def wait(self, stop: Event) -> Fired | None:
        """Wait for the next request."""
        while not stop.is_set():
            try:
                return self._fired.get(timeout=POLL_S)
            except Empty:
                continue
        return None

    def close(self) -> None:
        """Listen no more."""
        if not self._closed:
            self._closed = True
            self._server.shutdown()
            self._server.server_close()


class _TriggerServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: what a stranger sends is no fault of the line's."""


class _TriggerHandler(BaseHTTPRequestHandler):
    fired: ClassVar[Queue[Fired]]
    token: ClassVar[str | None]
    timeout = HTTP_TIMEOUT_S
    server_version, sys_version = "procvision", ""

    def do_POST(self) -> None:
        """Take a trigger."""
        given = self.headers.get("Authorization", "")
        if self.token is not None and not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            self._answer(401, "the header Authorization: Bearer TOKEN is missing or wrong")
            return
        try:
            length = int(self.headers.get("Content-Length", "0"))
        except ValueError:
            length = -1
        if not 0 <= length <= MAX_TRIGGER_BYTES:
            self._answer(413, f"a trigger has at most {MAX_TRIGGER_BYTES} bytes, and says how many")
            return
        body = self.rfile.read(length)
        try:
            told = msgspec.json.decode(body, type=_Trigger) if body.strip() else _Trigger()
        except ValueError as error:  # msgspec's errors are ValueErrors
            self._answer(400, f"the body is no trigger: {error}")
            return
        try:
            self.fired.put_nowait(Fired(serial=told.serial))
        except Full:
            self._answer(503, "too many triggers wait")
        else:
            self._answer(202, "taken")

    def _answer(self, status: int, said: str) -> None:
        body = msgspec.json.encode({"detail": said})
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing: the ledger has what came."""


class _Trigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    serial: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
