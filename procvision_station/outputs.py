"""The outputs in the box. Each tells a verdict as one JSON object."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from procvision_sdk.private_files import PRIVATE_FILE
from procvision_station.kinds import KindError, Told
from procvision_tools.extras import MissingExtraError, look_for, need

MAX_REPLY_BYTES = 4096
"""A driver answers `ok`, or says in a line why not."""


def as_json(told: Told) -> bytes:
    """Return a verdict as every output tells it."""
    return msgspec.json.encode(
        {
            "line": told.line,
            "key": told.key,
            "product": told.product,
            "verdict": told.verdict,
            "reason": told.reason,
            "triggered_at": told.triggered_at,
        }
    )


class JsonLinesOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the output `json-lines`."""

    path: Annotated[str, Meta(min_length=1, description="The file; - is stdout. Relative to station.toml")] = "-"


class JsonLinesOutput:
    """A line of JSON a product, at the end of a file or on stdout."""

    options: ClassVar[type[msgspec.Struct]] = JsonLinesOptions

    def __init__(self, options: JsonLinesOptions, folder: Path) -> None:
        self._name = "stdout" if options.path == "-" else str(folder / options.path)
        self._torn = False
        """Whether the end of the last line is missing: the disk was full, or the station was killed."""
        try:
            if options.path == "-":
                self._descriptor = os.dup(1)
            else:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._descriptor = os.open(folder / options.path, flags, PRIVATE_FILE)
                self._torn = _ends_torn(folder / options.path)
        except OSError as error:
            raise KindError(f"{self._name} can't be written: {error.strerror or error}") from error

    @staticmethod
    def check(options: JsonLinesOptions, folder: Path) -> None:
        """Raise KindError where the file's folder is not there."""
        if options.path != "-" and not (folder / options.path).parent.is_dir():
            raise KindError(f"{folder / options.path} can't be written: there is no such folder\nhint: make it first")

    def tell(self, told: Told) -> None:
        """Write a line. What a full disk left of another one is a line of its own, and no verdict."""
        line = memoryview((b"\n" if self._torn else b"") + as_json(told) + b"\n")
        left = line
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
            self._torn = False
        except OSError as error:
            written = len(line) - len(left)  # of one byte it is the end of the line before
            self._torn = written > self._torn or (self._torn and not written)
            raise KindError(f"{self._name} can't be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _ends_torn(path: Path) -> bool:
    """Return whether a file's last line has no end."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


class ProgramOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the output `program`."""

    command: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(min_length=1, description="The driver program and its arguments; it runs in the station's folder"),
    ]
    timeout_s: Annotated[float, Meta(gt=0, le=60, description="For its answer; after that it is ended")] = 1.0


class ProgramOutput:
    """A driver program: it reads a line of JSON on stdin, and answers a line `ok` on stdout when it has told it.

    One that ends, answers anything else or nothing in time has not told it, and is started anew for the next verdict.
    """

    options: ClassVar[type[msgspec.Struct]] = ProgramOptions

    def __init__(self, options: ProgramOptions, folder: Path) -> None:
        self._options, self._folder = options, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    @staticmethod
    def check(options: ProgramOptions, folder: Path) -> None:
        """Raise KindError where there is no such program."""
        program = options.command[0]
        if shutil.which(folder / program if "/" in program else program) is None:
            raise KindError(
                f"{program} can't be started: there is no such program\nhint: its path from {folder}, or one of PATH"
            )

    def tell(self, told: Told) -> None:
        """Write the line and wait for its answer."""
        process = self._process if self._process is not None else self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(as_json(told) + b"\n")
            process.stdin.flush()
            answer = self._answer(process.stdout)
        except OSError as error:
            self.close()
            raise KindError(f"{self._options.command[0]} took no verdict: {error.strerror or error}") from error
        if answer != b"ok":
            self.close()
            said = f"said {answer.decode('utf-8', 'replace')[:200]!r}" if answer else "said nothing in time, or ended"
            raise KindError(f"{self._options.command[0]} {said}\nhint: it answers each line with a line ok")

    def _answer(self, stdout: IO[bytes]) -> bytes:
        """Read one line; an empty one where none came in time."""
        deadline, read = time.monotonic() + self._options.timeout_s, b""
        while b"\n" not in read and len(read) < MAX_REPLY_BYTES:
            ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(stdout.fileno(), MAX_REPLY_BYTES) if ready else b""
            if not part:
                return b""
            read += part
        line, _, rest = read.partition(b"\n")
        # What it says unasked would be taken for the answer of the next product.
        return line.strip() if not rest else read

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            self._process = subprocess.Popen(
                self._options.command, cwd=self._folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
        except OSError as error:
            raise KindError(f"{self._options.command[0]} can't be started: {error.strerror or error}") from error
        return self._process

    def close(self) -> None:
        """End the program."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class WebhookOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the output `webhook`."""

    url: Annotated[str, Meta(pattern=r"^https?://", description="Each verdict is posted here as JSON")]
    timeout_s: Annotated[float, Meta(gt=0, le=60, description="For the connection and the answer")] = 2.0


class WebhookOutput:
    """A POST a product. Any answer but a 2xx is a failure; redirections are not followed."""

    options: ClassVar[type[msgspec.Struct]] = WebhookOptions

    def __init__(self, options: WebhookOptions, folder: Path) -> None:  # noqa: ARG002 - the protocol's signature
        self._options = options
        # No proxy of the environment's: a verdict goes where the file says.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

    def tell(self, told: Told) -> None:
        """Post it."""
        request = urllib.request.Request(
            self._options.url, as_json(told), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with self._opener.open(request, timeout=self._options.timeout_s) as answer:
                answer.read(1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            said = f"answers {error.code}" if isinstance(error, urllib.error.HTTPError) else f"can't be told: {error}"
            raise KindError(f"{self._options.url} {said}") from error

    def close(self) -> None:
        """Do nothing."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow none: a POST that becomes a GET elsewhere tells nobody."""


class MqttOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the output `mqtt`."""

    topic: Annotated[str, Meta(min_length=1, max_length=1024, pattern=r"^[^#+]+$", description="Where verdicts go")]
    host: Annotated[str, Meta(min_length=1, description="The broker's")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="The broker's")] = 1883
    username: Annotated[str | None, Meta(description="For the broker")] = None
    password_file: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="A file whose first line is the password; relative to station.toml"),
    ] = None
    tls: Annotated[bool, Meta(description="Whether the broker's certificate is asked for, and must be good")] = False
    timeout_s: Annotated[float, Meta(gt=0, le=60, description="For the broker's acknowledgement")] = 2.0


class MqttOutput:
    """A message a product, of quality 1: told is what the broker has acknowledged.

    A broker that is away gets no verdict later: what moved on needs none. The connection comes back by itself.
    """

    options: ClassVar[type[msgspec.Struct]] = MqttOptions

    def __init__(self, options: MqttOptions, folder: Path) -> None:
        try:
            self._paho = need("paho.mqtt.client", "paho-mqtt", "the output mqtt", "mqtt")
        except MissingExtraError as error:
            raise KindError(str(error)) from error
        self._options = options
        self._password = _password(options, folder) if options.username is not None else None
        self._client = self._connecting()

    def _connecting(self) -> Any:
        """Return a client that connects, and connects again where the broker goes away."""
        options, client = self._options, self._paho.Client(self._paho.CallbackAPIVersion.VERSION2)
        client.max_queued_messages_set(1)
        client.reconnect_delay_set(1, 5)
        if options.username is not None:
            client.username_pw_set(options.username, self._password)
        if options.tls:
            client.tls_set()
        client.on_socket_open = _without_delay
        client.connect_async(options.host, options.port, keepalive=10)
        client.loop_start()
        return client

    @staticmethod
    def check(options: MqttOptions, folder: Path) -> None:
        """Raise KindError where the library or the password's file is missing. Ask no broker."""
        try:
            look_for("paho", "paho-mqtt", "the output mqtt", "mqtt")
        except MissingExtraError as error:
            raise KindError(str(error)) from error
        if options.username is not None:
            _password(options, folder)

    def tell(self, told: Told) -> None:
        """Publish it, and wait for the broker's word."""
        name = f"mqtt://{self._options.host}:{self._options.port}"
        deadline = time.monotonic() + self._options.timeout_s
        while not self._client.is_connected():  # right after the start, or the broker's
            if time.monotonic() > deadline:
                raise KindError(f"{name} can't be reached")
            time.sleep(0.01)
        try:
            message = self._client.publish(self._options.topic, as_json(told), qos=1)
            message.wait_for_publish(max(0.0, deadline - time.monotonic()))
            done = message.is_published()
        except (OSError, RuntimeError, ValueError) as error:
            self._forget()
            raise KindError(f"{name} took no verdict: {error}") from error
        if not done:
            self._forget()
            raise KindError(f"{name} has not acknowledged it in {self._options.timeout_s:g} s")

    def _forget(self) -> None:
        """Begin anew: the client would tell again what was not acknowledged, when the next broker comes."""
        self.close()
        self._client = self._connecting()

    def close(self) -> None:
        """Say goodbye to the broker."""
        self._client.disconnect()
        self._client.loop_stop()


def _password(options: MqttOptions, folder: Path) -> str | None:
    if options.password_file is None:
        return None
    try:
        return (folder / options.password_file).read_text("utf-8").splitlines()[0]
    except (OSError, ValueError, IndexError) as error:
        raise KindError(f"password_file: {options.password_file} has no password: {error}") from error


def _without_delay(_client: Any, _userdata: Any, opened: Any) -> None:
    """Send a message at once: Nagle's algorithm waits 40 ms for the broker's acknowledgement of the one before."""
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
