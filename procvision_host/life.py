"""The life of one algorithm in its cell: loading, `setup()`, its calls, `teardown()`."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING

from procvision_host import exits
from procvision_host.conversation.main_loop import Loop
from procvision_host.logs import HOST_LOGGER, LogContext
from procvision_host.options import HostOptions
from procvision_host.process.known_state import stand_in
from procvision_host.process.setup import collect_from_here, import_uncollected, settle_memory
from procvision_sdk.errors import AlgorithmError, ErrorCode, ProcVisionError
from procvision_sdk.wire.messages import AlgorithmName

if TYPE_CHECKING:
    from procvision_host.algorithm.discovery import AlgorithmRow
    from procvision_host.halves.alone import Alone
    from procvision_host.halves.ring import Ring
    from procvision_host.process.channels import HostEnds
    from procvision_host.sandbox.refusals import Refusals
    from procvision_sdk.algorithm import BaseAlgorithm
    from procvision_sdk.manifest.model import Manifest

_log = logging.getLogger(HOST_LOGGER)


class AlgorithmLife:
    """Loads the algorithm, serves its calls, tears it down; the loop carries the conversation."""

    def __init__(
        self,
        options: HostOptions,
        loop: Loop,
        context: LogContext,
        ends: HostEnds,
        ring: Ring | None,
        refusals: Refusals | None = None,
    ) -> None:
        self._options = options
        self._loop = loop
        self._context = context
        self._ends = ends
        self._ring = ring
        self._refusals = refusals
        self._algorithm: BaseAlgorithm | None = None
        self._setup_began = False
        self._closing: contextlib.ExitStack = contextlib.ExitStack()

    def live(self) -> None:
        """From the handshake to the end of teardown. What goes wrong becomes the loop's exit status."""
        if not self._loop.shake_hands():
            return
        self._loop.start_standby()
        with self._closing:
            half = self._host_half()
            row = self._found() if half is not None else None
            if half is not None and row is not None:
                stand_in(self._options.working_folder)
                self._load_and_serve(row, half)
            self._tear_down()

    def _host_half(self) -> Alone | None:
        """Return what the host half gives, once it has read its configuration; None if that is wrong."""
        if self._ring is None:
            from procvision_host.halves.alone import Alone

            half = Alone(self._ends)
        else:
            from procvision_host.halves.cell import OtherHalf

            half = OtherHalf(self._ends, self._ring)
        failed = half.failed
        if failed is None:
            return half
        code, kind, message, status, retryable = failed
        self._loop.loading_failed(code, kind, message, status, retryable=retryable)
        return None

    def _found(self) -> AlgorithmRow | None:
        """Return the algorithm's row; None if there is none that can be used."""
        from procvision_host.algorithm.discovery import find

        try:
            row = find(self._options.algo)
            self._held_against_grants(row)
            return row  # noqa: TRY300 - what both raise is told alike
        except ProcVisionError as error:
            code = getattr(error, "error_code", ErrorCode.INVALID_PACKAGE)
            _log.error("%s", error)
            self._loop.loading_failed(code, "configuration", str(error), exits.CONFIGURATION)
            return None

    def _held_against_grants(self, row: AlgorithmRow) -> None:
        """Refuse grants that nobody asked for, and name the needs that weren't granted. Raises GrantError."""
        assert row.manifest is not None
        if not self._options.grant and not row.manifest.needs:
            return
        from procvision_host.sandbox.grants import GrantError, unasked, ungranted
        from procvision_host.sandbox.refusals import told

        grants = self._options.grant
        too_many = unasked(row.manifest, grants)
        if too_many:
            known = ", ".join(row.manifest.needs) or "nothing"
            text = f"{row.name} {row.version} doesn't ask for {', '.join(map(str, too_many))}, which is granted"
            raise GrantError(f"{text}; hint: its manifest needs {known}")
        lacking = ungranted(row.manifest, grants)
        if self._refusals is not None and lacking and self._options.isolation == "strict":
            self._refusals.ungranted = lacking
            _log.warning("%s %s", row.name, told(lacking, lacking))

    def _load_and_serve(self, row: AlgorithmRow, half: Alone) -> None:
        from procvision_host.algorithm.call_checker import CallChecker
        from procvision_host.algorithm.discovery import host_version
        from procvision_host.algorithm.images import Images
        from procvision_host.algorithm.worker import Worker
        from procvision_sdk.environment import SUPERVISOR_VARIABLE
        from procvision_sdk.images.reading import bind_image_reader

        assert row.manifest is not None
        assert row.version is not None
        name, version = row.name, row.version
        images = Images(half.image_backends())
        sessions = half.sessions(self._options.max_session_bytes)
        self._closing.callback(sessions.close)
        self._closing.callback(images.close)
        self._closing.enter_context(bind_image_reader(images.read))
        if half.records is not None:
            self._loop.record(half.records)
            self._loop.tell_of_drain(half.draining)
        supervisor = os.environ.get(SUPERVISOR_VARIABLE, "")
        half.tell(
            "procvision_host_loaded", algorithm=name, version=version, process_id=os.getpid(), supervisor=supervisor
        )
        made = self._set_up(row)
        if made is None:
            return
        algorithm, manifest = made
        versions = {"algorithm": row.version, "host": host_version(), "python": sys.version.split()[0]}
        worker = Worker(
            algorithm,
            manifest,
            images,
            half.observed(sessions),
            CallChecker(manifest, self._options.max_pixels),
            self._context,
            versions,
            self._refusals,
        )
        loop = self._loop
        loop.made(algorithm.cancellation)  # setup() may have made it anew
        settle_memory()
        loop.loaded(AlgorithmName(name=row.name, version=row.version), versions["host"])
        _log.info("%s %s is ready", row.name, row.version)
        half.tell("procvision_host_ready", algorithm=name, version=version)
        loop.serve(
            worker,
            half.around(worker.run),
            half.after(worker.answered),
            steady=not half.wraps_calls,
            when_idle=_prepare_for_pictures if manifest.reads_picture and "numpy" not in sys.modules else None,
        )

    def _set_up(self, row: AlgorithmRow) -> tuple[BaseAlgorithm, Manifest] | None:
        from procvision_host.algorithm.exceptions import explained, with_need
        from procvision_host.algorithm.loader import LoadError, load

        try:
            import_uncollected()
            made = load(row, collect_from_here)
            self._algorithm = algorithm = made[0]
            self._loop.made(algorithm.cancellation)
            self._setup_began = True
            algorithm.setup()
            self._loop.end_copy()
        except BaseException as error:  # noqa: BLE001 - SystemExit in a vendor's module included
            self._loop.end_copy()
            needed = explained(self._refusals, error)
            _log.error("%s could not be loaded%s", row.name, f": it {needed}" if needed else "", exc_info=error)
            code = error.error_code if isinstance(error, (LoadError, AlgorithmError)) else ErrorCode.UNKNOWN
            stage = "setup" if self._setup_began else "load"
            text = str(error) if isinstance(error, LoadError) else f"{type(error).__name__} in {stage}: {error}"
            self._loop.loading_failed(
                str(code),
                f"{stage}_failed",
                with_need(text, row.name, needed),
                exits.ALGORITHM_FAILED,
                {"exception": type(error).__name__},
            )
            return None
        return made

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


def _prepare_for_pictures() -> None:
    """Import NumPy, which the first call with a picture would import otherwise, where its algorithm hasn't."""
    with contextlib.suppress(BaseException):  # that call meets what is wrong with it, too, and tells it
        from procvision_sdk.images import view

        assert view
    settle_memory()
