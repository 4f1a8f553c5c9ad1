"""A host without a process: the same loading, the same checks before and after a call, the same session store.

    with InMemoryRunner(WeldCheck) as runner:
        assert runner.execute(picture, pid="A").verdict == "OK"

What it leaves out is what a process is for: frames, time-outs, crashes, stray output. Its interface is
`procvision_sdk.calling.AlgorithmRunner`, as that of the runners with a process, so that a test runs with either.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from procvision_host.algorithm.call_checker import CallChecker
from procvision_host.algorithm.discovery import AlgorithmRow, host_version
from procvision_host.algorithm.images import Images
from procvision_host.algorithm.loader import LoadError, check_assets, made
from procvision_host.algorithm.sessions import GuardedSessions
from procvision_host.algorithm.worker import Worker
from procvision_host.builtin.memory_store import MemorySessionStore
from procvision_host.in_memory.images import SCHEME, MemoryImages, MemoryLease
from procvision_host.logs import LogContext
from procvision_host.options import DEFAULT_MAX_SESSION_BYTES
from procvision_sdk.algorithm import BaseAlgorithm
from procvision_sdk.call_errors import CallError, CallFailedError, RunnerStoppedError
from procvision_sdk.call_result import CallResult, checked
from procvision_sdk.calling import InspectingPhase, InspectionSession, new_session, session_ref
from procvision_sdk.images.picture import as_picture, image_meta, is_lent
from procvision_sdk.images.reading import bind_image_reader
from procvision_sdk.manifest.model import MANIFEST_FILE, Manifest
from procvision_sdk.manifest.reading import read_manifest
from procvision_sdk.plain import plain
from procvision_sdk.session import SessionStore
from procvision_sdk.wire.messages import Call, Error, Result

if TYPE_CHECKING:
    from procvision_sdk.calling import CallImage
    from procvision_sdk.images.meta import ColorSpace


class InMemoryRunner:
    """Drives one algorithm class. A context manager: entering it runs `setup()`, leaving it `teardown()`.

    ``manifest`` is a `Manifest` or a file; without it the `manifest.json` beside the class's module, or in a package
    above it, is taken. ``sessions`` is where states are kept. Raises LoadError and ManifestError.
    """

    def __init__(
        self,
        algorithm: type[BaseAlgorithm],
        *,
        manifest: Manifest | Path | None = None,
        sessions: SessionStore | None = None,
    ) -> None:
        if not inspect.isclass(algorithm):
            raise LoadError(
                f"{algorithm!r:.80} is no class; hint: give the class itself, it is made as a host makes it"
            )
        self._class = algorithm
        self._entry_point = f"{algorithm.__module__}:{algorithm.__qualname__}"
        self._folder = _folder(algorithm)
        found = manifest if manifest is not None else self._folder / MANIFEST_FILE
        self.manifest = found if isinstance(found, Manifest) else read_manifest(found)
        store = MemorySessionStore() if sessions is None else sessions
        self._sessions = GuardedSessions(store, DEFAULT_MAX_SESSION_BYTES)
        self._pictures = MemoryImages()
        self._images = Images({SCHEME: lambda: self._pictures})
        self._worker: Worker | None = None
        self._algorithm: BaseAlgorithm | None = None

    # --- life -----------------------------------------------------------------------------------------------

    def __enter__(self) -> InMemoryRunner:
        name = self.manifest.name
        row = AlgorithmRow(name, self._entry_point, None, self.manifest.version, self.manifest, self._folder, None)
        check_assets(row)
        self._algorithm = algorithm = made(self._class, self._entry_point)
        try:
            algorithm.setup()
        except BaseException:
            algorithm.teardown()
            raise
        versions = {"algorithm": self.manifest.version, "host": host_version(), "python": sys.version.split()[0]}
        self._worker = Worker(
            algorithm, self.manifest, self._images, self._sessions, CallChecker(self.manifest), LogContext(), versions
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker = None
        self._images.close()
        if self._algorithm is not None:
            self._algorithm.teardown()

    @property
    def algorithm(self) -> BaseAlgorithm:
        """The algorithm itself."""
        if self._algorithm is None:
            raise RuntimeError("this InMemoryRunner was not entered; hint: use it in a with block")
        return self._algorithm

    # --- calls ----------------------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """Return `manifest`, `info` (the algorithm's own) and `versions`. Raises CallFailedError."""
        return self._answer(Call(phase="info"))[0].data

    def session(self, context: Mapping[str, Any] | None = None, session_id: str | None = None) -> InspectionSession:
        """Return a new inspection, to pass to calls. `context` is what the algorithm may know of the product.

        Raises PlainValueError for a `context` that is no JSON object.
        """
        return new_session(context, session_id)

    def lend(self, width: int, height: int, color_space: ColorSpace = "RGB") -> MemoryLease:
        """Lend memory for a picture of `width` x `height` pixels. Write into its `array`, then pass it to one call.

        Raises RunnerStoppedError.
        """
        self._running()
        return MemoryLease(width, height, color_space)

    def pre_execute(
        self,
        image: CallImage | None = None,
        *,
        pid: str,
        step_index: int = 1,
        session: InspectionSession | str | None = None,
        user_params: Mapping[str, Any] | None = None,
        final: bool = False,
        camera_id: str | None = None,
        timestamp_ms: int | None = None,
        timeout_s: float | None = None,  # noqa: ARG002 - a call in this process can't be ended
    ) -> CallResult:
        """Prepare a step. The arguments and errors are those of `execute`."""
        return self._run(
            *self._prepared("pre", image, pid, step_index, session, user_params, final, camera_id, timestamp_ms)
        )

    def execute(
        self,
        image: CallImage | None = None,
        *,
        pid: str,
        step_index: int = 1,
        session: InspectionSession | str | None = None,
        user_params: Mapping[str, Any] | None = None,
        final: bool = False,
        camera_id: str | None = None,
        timestamp_ms: int | None = None,
        timeout_s: float | None = None,  # noqa: ARG002 - a call in this process can't be ended
    ) -> CallResult:
        """Inspect a picture, on the caller's thread.

        `image` is an array (H x W x 3 RGB or H x W, uint8), a `Picture`, or what `lend` gave. `pid` is the product's
        id. `step_index` counts the manifest's steps from 1. `session` is an `InspectionSession`, its id, or None for
        one that ends with this call; `final` ends the session after this call. `user_params` are the step's
        parameters by key. `camera_id` and `timestamp_ms` (Unix milliseconds; None is 0, so that results can be
        compared) say where the picture comes from. `timeout_s` is taken as every runner takes it, and nothing ends
        the call: there is no process to end.
        Raises TypeError or ValueError for an image that is no picture, CallFailedError and RunnerStoppedError. A
        result of status ERROR is returned.
        """
        return self._run(
            *self._prepared("execute", image, pid, step_index, session, user_params, final, camera_id, timestamp_ms)
        )

    def submit(
        self,
        phase: InspectingPhase,
        image: CallImage | None = None,
        *,
        pid: str,
        step_index: int = 1,
        session: InspectionSession | str | None = None,
        user_params: Mapping[str, Any] | None = None,
        final: bool = False,
        camera_id: str | None = None,
        timestamp_ms: int | None = None,
        timeout_s: float | None = None,  # noqa: ARG002 - a call in this process can't be ended
    ) -> Future[CallResult]:
        """Make the same call; it has ended when this returns. The Future has its result or its CallFailedError."""
        prepared = self._prepared(phase, image, pid, step_index, session, user_params, final, camera_id, timestamp_ms)
        future: Future[CallResult] = Future()
        future.set_running_or_notify_cancel()
        try:
            result = self._run(*prepared)
        except CallError as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        return future

    def reset(self, session: InspectionSession | str) -> None:
        """Let the algorithm forget a session: the next call that names it begins anew. Raises CallFailedError."""
        self._answer(Call(phase="reset", session=session_ref(session, final=False)))

    def _prepared(
        self,
        phase: InspectingPhase,
        image: CallImage | None,
        pid: str,
        step_index: int,
        session: InspectionSession | str | None,
        user_params: Mapping[str, Any] | None,
        final: bool,
        camera_id: str | None,
        timestamp_ms: int | None,
    ) -> tuple[Call, tuple[int, int] | None]:
        self._running()
        call = Call(
            phase=phase,
            step_index=step_index,
            pid=pid,
            session=session_ref(session, final=final),
            user_params=plain(dict(user_params), "user_params") if user_params else None,
        )
        if image is None:
            return call, None
        picture = as_picture(image)
        call.shared_mem_id = picture.shared_mem_id or self._pictures.put(picture)
        call.image_meta = image_meta(picture, camera_id, timestamp_ms or 0)
        if is_lent(image):
            image.release()
        return call, (picture.width, picture.height)

    def _run(self, call: Call, size: tuple[int, int] | None) -> CallResult:
        result, took_ms = self._answer(call)
        return checked(result, call.phase, size, took_ms)

    def _running(self) -> Worker:
        if self._worker is None:
            raise RunnerStoppedError("this InMemoryRunner doesn't run: use it in a with block")
        return self._worker

    def _answer(self, call: Call) -> tuple[Result, float]:
        worker = self._running()
        began = time.perf_counter()
        with bind_image_reader(self._images.read):
            answer = worker.run(call)
        took_ms = round((time.perf_counter() - began) * 1000, 3)
        worker.answered(call, answer, took_ms)
        self._pictures.clear()
        if isinstance(answer, Error):
            assert answer.data is not None
            raise CallFailedError(
                answer.message,
                error_code=answer.error_code,
                kind=answer.data.kind,
                retryable=answer.data.retryable,
                detail=answer.data.detail,
            )
        return answer, took_ms


def _folder(algorithm: type[BaseAlgorithm]) -> Path:
    """Return the innermost folder of the class's package that has a manifest; the module's own if none has."""
    file = getattr(sys.modules[algorithm.__module__], "__file__", None)
    if file is None:
        return Path()
    folder = Path(file).parent
    depth = algorithm.__module__.count(".") + (1 if Path(file).name == "__init__.py" else 0)
    for candidate in [folder, *folder.parents][: max(depth, 1)]:
        if (candidate / MANIFEST_FILE).is_file():
            return candidate
    return folder
