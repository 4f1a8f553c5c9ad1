"""One host, from after its hello to its end."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import io
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, TextIO

import click

from procvision_host import exits
from procvision_host.channels import DRAIN_REQUEST
from procvision_host.logs import HOST_LOGGER, LogContext, install
from procvision_host.loop import Loop
from procvision_host.options import HostOptions, parse
from procvision_host.system import die_with_parent
from procvision_sdk.errors import AlgorithmError, ErrorCode, ProcVisionError
from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.messages import AlgorithmName
from procvision_sdk.wire.tables import Role

if TYPE_CHECKING:
    from procvision_host.board import Board
    from procvision_host.channels import HostEnds
    from procvision_host.discovery import AlgorithmRow
    from procvision_host.hooks import Hooks
    from procvision_sdk.algorithm import BaseAlgorithm
    from procvision_sdk.sources import Made
    from procvision_sdk.wire.messages import AnyMessage, Call

    Answered = Callable[[Call, AnyMessage, float], None]

_LEAVING_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logging.getLogger(HOST_LOGGER)


def run(arguments: list[str], name: str, ends: HostEnds, board: Board) -> NoReturn:
    """The whole life of a host process."""
    die_with_parent(ends.guardian)
    _prepare_process(ends)
    usage: str | None = None
    try:
        options = parse(arguments)
    except click.ClickException as error:
        usage = f"{error.format_message()}; hint: procvision-host --help"
        options = HostOptions(algo=name)
    context = LogContext()
    install(ends, options.algo, context, options.log_level)
    connection = Connection(
        Role.HOST,
        now=time.monotonic(),
        max_frame_bytes=options.max_frame_bytes,
        max_pending=options.max_pending,
        handshake_timeout_s=options.handshake_timeout_s,
    )
    connection.hello_was_written()
    loop = Loop(ends, connection, board, shutdown_grace_s=options.shutdown_grace_s)
    if usage is not None:
        _log.error("wrong command line: %s", usage)
        loop.loading_failed(ErrorCode.INVALID_PARAMS, "usage", usage, exits.USAGE)
        _leave(loop.close(), board)
    os.register_at_fork(after_in_child=lambda: _became_copy(loop))
    try:
        host = Host(options, loop, context)
        host.live()
        status = loop.close()
        host.closed(status)
    except BaseException as error:  # noqa: BLE001 - a fault of ours; threads of the vendor's must not keep us here
        _log.critical("the host failed", exc_info=error)
        status = exits.ALGORITHM_FAILED
    _leave(status, board)


def _prepare_process(ends: HostEnds) -> None:
    # The guardian, which is who gets the signals, asks over a pipe; these are for signals sent to the host itself.
    def ask_to_leave(*_: object) -> None:
        with contextlib.suppress(OSError):
            ends.wake_reader(DRAIN_REQUEST)

    for number in _LEAVING_SIGNALS:
        signal.signal(number, ask_to_leave)
    # The handler has to wait for the main thread; this reaches the reader also while that is busy in C.
    signal.set_wakeup_fd(ends.wake, warn_on_full_buffer=False)
    faulthandler.enable(file=2)
    # Stacks of a hung process on SIGQUIT, written by C code that needs no interpreter lock.
    faulthandler.register(signal.SIGQUIT, file=2, all_threads=True)
    # What an algorithm prints leaves at once, also without a newline and before a crash, and no character of it can
    # raise. The streams are made anew: the old ones remember what kind of file their descriptors were before.
    sys.stdout, sys.stderr = _unbuffered_stream(1), _unbuffered_stream(2)


def _became_copy(loop: Loop) -> None:
    """In a child that the algorithm forked: a signal that is meant for it must not make the host leave."""
    loop.became_copy()
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)
        for number in _LEAVING_SIGNALS:
            signal.signal(number, signal.SIG_DFL)


def _unbuffered_stream(descriptor: int) -> TextIO:
    raw = io.FileIO(descriptor, "wb", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


class Host:
    """Loads the algorithm, serves its calls, tears it down; the loop carries the conversation."""

    def __init__(self, options: HostOptions, loop: Loop, context: LogContext) -> None:
        self._options = options
        self._loop = loop
        self._context = context
        self._hooks: Hooks | None = None
        self._sessions = ""
        self._algorithm: BaseAlgorithm | None = None
        self._setup_began = False
        self._closing: contextlib.ExitStack = contextlib.ExitStack()

    def live(self) -> None:
        """From the handshake to the end of teardown. What goes wrong becomes the loop's exit status."""
        if not self._loop.shake_hands():
            return
        self._loop.start_standby()
        with self._closing:
            row = self._configured()
            if row is not None:
                self._load_and_serve(row)
            self._tear_down()

    def closed(self, exit_status: int) -> None:
        """The last frame is out: tells the hook plugins, and gives them their time."""
        if self._hooks is not None:
            self._hooks.tell("procvision_host_closed", lambda: {"exit_status": exit_status})
            self._hooks.end()

    def _configured(self) -> AlgorithmRow | None:
        """Hooks and the algorithm's row; None if the configuration is wrong."""
        from procvision_host.discovery import find
        from procvision_host.hooks import Hooks
        from procvision_host.sessions import chosen_store
        from procvision_host.telling import LOG_HOOK, LogTeller
        from procvision_sdk.errors import ManifestError

        try:
            config = self._options.read_config(os.environ)
            self._sessions = chosen_store(self._options.sessions, config, os.environ)
            self._hooks = hooks = Hooks(self._options.hook_choice(config, os.environ))
            if hooks.listening("procvision_host_draining"):
                self._loop.told_of_drain = self._draining
            if hooks.listening(LOG_HOOK):
                LogTeller(hooks, self._options.algo, self._context).install()
            return find(self._options.algo)
        except ProcVisionError as error:
            self._misconfigured(error.code if isinstance(error, ManifestError) else ErrorCode.INVALID_PACKAGE, error)
            return None

    def _misconfigured(self, code: str, error: ProcVisionError) -> None:
        _log.error("%s", error)
        self._loop.loading_failed(code, "configuration", str(error), exits.CONFIGURATION)

    def _load_and_serve(self, row: AlgorithmRow) -> None:
        from procvision_host.discovery import host_version
        from procvision_host.hookchoice import HookPluginError
        from procvision_host.images import Images
        from procvision_host.sessions import GuardedSessions, open_store
        from procvision_host.telling import Telling
        from procvision_sdk.images.reading import bind_image_reader

        hooks = self._hooks
        assert hooks is not None
        assert row.manifest is not None
        assert row.version is not None
        name, version = row.name, row.version
        try:
            images = Images(hooks.image_backends())
            store = open_store(self._sessions, hooks.session_stores())
        except HookPluginError as error:
            self._misconfigured(ErrorCode.INVALID_PARAMS, error)
            return
        sessions = GuardedSessions(store, self._options.max_session_bytes)
        self._closing.callback(sessions.close)
        self._closing.callback(images.close)
        self._closing.enter_context(bind_image_reader(images.read))
        process_id = os.getpid()
        hooks.tell("procvision_host_loaded", lambda: {"algorithm": name, "version": version, "process_id": process_id})
        made = self._set_up(row)
        if made is None:
            return
        algorithm, manifest = made

        from procvision_host.calls import CallChecker
        from procvision_host.worker import Worker

        told = Telling(hooks, sessions)
        versions = {"algorithm": row.version, "host": host_version(), "python": sys.version.split()[0]}
        worker = Worker(
            algorithm,
            manifest,
            images,
            told.sessions,
            CallChecker(manifest, self._options.max_pixels),
            self._context,
            versions,
        )
        loop = self._loop
        loop.cancellation = algorithm.cancellation
        loop.versions = (AlgorithmName(name=row.name, version=row.version), versions["host"])
        _settle_memory()
        loop.loaded()
        _log.info("%s %s is ready", row.name, row.version)
        hooks.tell("procvision_host_ready", lambda: {"algorithm": name, "version": version})
        loop.serve(told.around(worker.run), _in_turn(worker.answered, told.answered))

    def _set_up(self, row: AlgorithmRow) -> Made | None:
        from procvision_host.loader import LoadError, load

        try:
            made = load(row)
            self._algorithm = algorithm = made.algorithm
            self._loop.cancellation = algorithm.cancellation
            self._setup_began = True
            algorithm.setup()
            self._loop.end_copy()
        except BaseException as error:  # noqa: BLE001 - SystemExit in a vendor's module included
            self._loop.end_copy()
            _log.error("%s could not be loaded", row.name, exc_info=error)
            code = error.code if isinstance(error, (LoadError, AlgorithmError)) else ErrorCode.UNKNOWN
            stage = "setup" if self._setup_began else "load"
            text = str(error) if isinstance(error, LoadError) else f"{type(error).__name__} in {stage}: {error}"
            self._loop.loading_failed(
                str(code), f"{stage}_failed", text, exits.ALGORITHM_FAILED, {"exception": type(error).__name__}
            )
            return None
        return made

    def _draining(self, exit_status: int) -> None:
        assert self._hooks is not None
        self._hooks.tell("procvision_host_draining", lambda: {"exit_status": exit_status})

    def _tear_down(self) -> None:
        if self._algorithm is None or not self._setup_began:
            return
        try:
            self._algorithm.teardown()
            self._loop.end_copy()
        except BaseException as error:  # noqa: BLE001 - SystemExit included
            self._loop.end_copy()
            _log.error("teardown raised", exc_info=error)
            if self._loop.exit_status == exits.CLEAN:
                self._loop.exit_status = exits.ALGORITHM_FAILED


def _in_turn(first: Answered, then: Answered | None) -> Answered:
    if then is None:
        return first

    def both(call: Call, answer: AnyMessage, elapsed_ms: float) -> None:
        first(call, answer, elapsed_ms)
        then(call, answer, elapsed_ms)

    return both


def _settle_memory() -> None:
    """Takes what is loaded by now, libraries and models, out of the collector's sight.

    It stays for the process's life; walking it again and again would only make single calls late.
    """
    gc.collect()
    gc.freeze()


def _leave(status: int, board: Board) -> NoReturn:
    """Ends the process without waiting for threads that an algorithm left behind."""
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    board.leaves()
    os._exit(status)
