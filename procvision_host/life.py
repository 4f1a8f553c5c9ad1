"""The life of one algorithm in its host: hooks, loading, `setup()`, its calls, `teardown()`."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from procvision_host import exits
from procvision_host.conversation.main_loop import Loop
from procvision_host.logs import HOST_LOGGER, LogContext
from procvision_host.options import HostOptions
from procvision_host.process.setup import settle_memory
from procvision_sdk.errors import AlgorithmError, ErrorCode, ProcVisionError
from procvision_sdk.wire.messages import AlgorithmName

if TYPE_CHECKING:
    from procvision_host.algorithm.discovery import AlgorithmRow
    from procvision_host.hooks.manager import Hooks
    from procvision_sdk.algorithm import BaseAlgorithm
    from procvision_sdk.sources import Made
    from procvision_sdk.wire.messages import AnyMessage, Call

    Answered = Callable[[Call, AnyMessage, float], None]

_log = logging.getLogger(HOST_LOGGER)


class Host:
    """Loads the algorithm, serves its calls, tears it down; the loop carries the conversation."""

    def __init__(
        self, options: HostOptions, loop: Loop, context: LogContext, arena: Callable[[], int] | None = None
    ) -> None:
        self._options = options
        self._loop = loop
        self._context = context
        self._arena = arena
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
        from procvision_host.algorithm.discovery import find
        from procvision_host.algorithm.sessions import chosen_store
        from procvision_host.hooks.manager import Hooks
        from procvision_host.hooks.observers import LOG_HOOK, LogTeller
        from procvision_host.hooks.selection import ConfigurationError
        from procvision_sdk.errors import ManifestError

        try:
            config = self._options.read_config(os.environ)
            self._sessions = chosen_store(self._options.sessions, config, os.environ)
            self._hooks = hooks = Hooks(self._options.hook_choice(config, os.environ))
            if hooks.listening("procvision_host_draining"):
                self._loop.tell_of_drain(self._draining)
            if hooks.listening(LOG_HOOK):
                LogTeller(hooks, self._options.algo, self._context).install()
            return find(self._options.algo)
        except ProcVisionError as error:
            if isinstance(error, (ConfigurationError, ManifestError)):
                self._misconfigured(error.error_code, error)
            else:
                self._misconfigured(ErrorCode.INVALID_PACKAGE, error)
            return None

    def _misconfigured(self, code: str, error: ProcVisionError) -> None:
        _log.error("%s", error)
        self._loop.loading_failed(code, "configuration", str(error), exits.CONFIGURATION)

    def _load_and_serve(self, row: AlgorithmRow) -> None:
        from procvision_host.algorithm.discovery import host_version
        from procvision_host.algorithm.images import Images
        from procvision_host.algorithm.sessions import GuardedSessions, open_store
        from procvision_host.builtin.arena_images import ArenaImages
        from procvision_host.hooks.observers import Telling
        from procvision_host.hooks.selection import ConfigurationError
        from procvision_sdk.images.layout import ARENA_SCHEME
        from procvision_sdk.images.reading import bind_image_reader

        hooks = self._hooks
        assert hooks is not None
        assert row.manifest is not None
        assert row.version is not None
        name, version = row.name, row.version
        try:
            own = {ARENA_SCHEME: partial(ArenaImages, self._arena)} if self._arena is not None else {}
            images = Images(hooks.image_backends(own))
            store = open_store(self._sessions, hooks.session_stores())
        except ConfigurationError as error:
            self._misconfigured(error.error_code, error)
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

        from procvision_host.algorithm.call_checker import CallChecker
        from procvision_host.algorithm.worker import Worker

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
        loop.made(algorithm.cancellation)  # setup() may have made it anew
        settle_memory()
        loop.loaded(AlgorithmName(name=row.name, version=row.version), versions["host"])
        _log.info("%s %s is ready", row.name, row.version)
        hooks.tell("procvision_host_ready", lambda: {"algorithm": name, "version": version})
        answered = _in_turn(worker.answered, told.answered)
        loop.serve(told.around(worker.run), answered, lambda: worker.wants_replacing)

    def _set_up(self, row: AlgorithmRow) -> Made | None:
        from procvision_host.algorithm.loader import LoadError, load

        try:
            made = load(row)
            self._algorithm = algorithm = made.algorithm
            self._loop.made(algorithm.cancellation)
            self._setup_began = True
            algorithm.setup()
            self._loop.end_copy()
        except BaseException as error:  # noqa: BLE001 - SystemExit in a vendor's module included
            self._loop.end_copy()
            _log.error("%s could not be loaded", row.name, exc_info=error)
            code = error.error_code if isinstance(error, (LoadError, AlgorithmError)) else ErrorCode.UNKNOWN
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
