"""`Runner`: one algorithm in a process of its own, as an object with two methods that matter.

with Runner("pcb-compare") as runner:
    session = runner.session()
    runner.pre_execute(reference, pid="A", session=session)
    result = runner.execute(picture, pid="A", session=session)
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any

from procvision_runner.call_methods import CallMethods
from procvision_runner.connection.client import Client
from procvision_runner.connection.launch import SpawnedHost, get_ready, host_command
from procvision_runner.connection.steady_calls import steady_calls
from procvision_runner.options import RunnerOptions, check_stop_timeout
from procvision_runner.process.host_log import HostLog
from procvision_runner.requests import Request, held_to_the_protocol
from procvision_runner.results import CallResult
from procvision_sdk.masking import masked_command
from procvision_sdk.wire.messages import Result


class Runner(CallMethods):
    """One host of one algorithm. A context manager: entering it calls `start`, leaving it `stop`. Any thread may call.

    `algorithm` is the name of an installed one, NAME or NAME==VERSION. `command` launches another host that speaks
    the protocol instead.
    With `deployments`, a folder that `procvision install` made, it is the version that is active there for the product
    `pid`, or for all products.
    `on_log` is called with each log record of the host, on a thread of the runner's.
    """

    def __init__(
        self,
        algorithm: str | None = None,
        *,
        command: Sequence[str] | None = None,
        options: RunnerOptions | None = None,
        deployments: str | os.PathLike[str] | None = None,
        pid: str | None = None,
        on_log: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.options = self._call_options = options if options is not None else RunnerOptions()
        self.command = host_command(algorithm, command, self.options, deployments, pid)
        self._on_log = on_log
        self._client: Client | None = None
        self._slots = None
        self._info: dict[str, Any] | None = None
        self._owner = os.getpid()

    # --- life -----------------------------------------------------------------------------------------------

    def start(self, spawned: SpawnedHost | None = None) -> Runner:
        """Launch the host and wait until the algorithm is set up. Raises LaunchError.

        `spawned` is a host that was launched before, and is taken over.
        """
        if self._client is not None:
            raise RuntimeError("this Runner was started already: make a new one for a new host")
        process, slots = (spawned or SpawnedHost(self.command, self.options)).take()
        try:
            with process.ended_on_error():
                log = HostLog(process.stderr, self.options.log_records, self._on_log)
                self._client = client = Client(process, self.options, log)
        except BaseException:
            slots.close()
            raise
        self._slots = slots
        try:
            self._info = get_ready(client, self.options)
            slots.suit(arena=client.reads_arena)
        except BaseException:
            self.stop()
            raise
        self._steady = steady_calls(client, slots, self.options)
        return self

    def stop(self, timeout_s: float | None = None) -> int | None:
        """Stop the host: shutdown, then SIGTERM, then SIGKILL for the whole tree. Return the exit status.

        `timeout_s` is how long it has until SIGKILL, and what it is told; None is `shutdown_timeout_s` and
        `terminate_timeout_s` of the options together. A second call does nothing. Raises ValueError if the time isn't
        above 0.
        """
        client, slots = self._client, self._slots
        if client is None or slots is None or os.getpid() != self._owner:
            # A fork of this process has copies of all this, and the host is not the fork's to end.
            return None
        check_stop_timeout(timeout_s)
        self._slots = self._steady = None
        try:
            return client.stop(timeout_s=timeout_s)
        finally:
            slots.close()

    def __enter__(self) -> Runner:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __del__(self) -> None:
        if getattr(self, "_slots", None) is not None:
            warnings.warn(f"{self!r} was dropped while it ran: use it in a with block", ResourceWarning, stacklevel=2)
            self.stop()

    def __repr__(self) -> str:
        return f"<Runner {' '.join(masked_command(self.command))}>"

    # --- what there is to know ------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether calls can be made."""
        return self._slots is not None and self._client is not None and self._client.alive

    @property
    def process_id(self) -> int | None:
        """The operating system's id of the process that runs the algorithm, as the host's hello said it."""
        client = self._client
        return client.hello.process_id if client is not None and client.hello is not None else None

    @property
    def logs(self) -> list[Mapping[str, Any]]:
        """The host's last log records, oldest first."""
        return list(self._client.log.records) if self._client is not None else []

    @property
    def unexpected_answers(self) -> int:
        """How many answers that came late, came twice or answer no call are on record."""
        return len(self._client.unexpected) if self._client is not None else 0

    def info(self) -> dict[str, Any]:
        """Return `manifest`, `info` (the algorithm's own) and `versions`; empty for a host that doesn't tell."""
        return dict(self._info or {})

    # --- calls ----------------------------------------------------------------------------------------------

    def _run(self, request: Request) -> CallResult:
        client, call, lease = self._client, request.call, request.lease
        assert client is not None
        result, took_s = client.call(call, request.timeout_s, None if lease is None else lease.release)
        return held_to_the_protocol(result, call.phase, request.size, took_s)

    def _start(self, request: Request) -> Future[CallResult]:
        release = request.lease.release if request.lease is not None else None
        return self._running().submit(request.call, request.timeout_s, release, partial(_judged, request))

    def _running(self) -> Client:
        self._open_slots()
        assert self._client is not None
        return self._client


def _judged(request: Request, result: Result, took_s: float) -> CallResult:
    return held_to_the_protocol(result, request.call.phase, request.size, took_s)
