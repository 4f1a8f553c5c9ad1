"""A host without a process: the same loading, the same checks before and after a call, the same session store.

    with InMemoryRunner(WeldCheck) as runner:
        assert runner.execute(picture, pid="A").verdict == "OK"

What it leaves out is what a process is for: frames, time-outs, crashes, stray output. It is called as
`procvision_runner.Runner` is, so that a test runs with either.
"""

from __future__ import annotations

import inspect
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from procvision_host.algorithm.call_checker import CallChecker
from procvision_host.algorithm.discovery import AlgorithmRow, host_version
from procvision_host.algorithm.images import Images
from procvision_host.algorithm.loader import LoadError, check_assets, made
from procvision_host.algorithm.sessions import GuardedSessions
from procvision_host.algorithm.worker import Worker
from procvision_host.builtin.memory_sessions import MemorySessionStore
from procvision_host.in_memory.images import SCHEME, MemoryImages
from procvision_host.logs import LogContext
from procvision_host.options import DEFAULT_MAX_SESSION_BYTES
from procvision_sdk.algorithm import BaseAlgorithm
from procvision_sdk.call_result import CallResult, checked
from procvision_sdk.calling import CallFailedError
from procvision_sdk.images.reading import bind_image_reader
from procvision_sdk.keywords import only
from procvision_sdk.manifest.model import MANIFEST_FILE, Manifest
from procvision_sdk.manifest.reading import read_manifest
from procvision_sdk.plain import plain
from procvision_sdk.session import SessionStore
from procvision_sdk.wire.messages import Call, Error, Result, SessionRef

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
        """`manifest`, `info` (the algorithm's own) and `versions`. Raises CallFailedError."""
        return self._answer(Call(phase="info"))[0].data

    def session(self, context: Mapping[str, Any] | None = None, session_id: str | None = None) -> SessionRef:
        """A new inspection; `context` is what the algorithm may know of the product."""
        return SessionRef(id=session_id or secrets.token_hex(8), context=plain(dict(context or {}), "context"))

    def pre_execute(self, image: NDArray[np.uint8] | None = None, *, pid: str, **more: Any) -> CallResult:
        """Prepares a step; takes what `execute` takes."""
        return self._call("pre", image, pid, **only(_ARGUMENTS, "pre_execute", more))

    def execute(self, image: NDArray[np.uint8] | None = None, *, pid: str, **more: Any) -> CallResult:
        """Inspects a picture (H x W x 3 RGB or H x W, uint8).

        Further arguments: `step_index` (1), `session` (of `session()`, an id, or None for one that ends with this
        call), `user_params`, `final` (ends the session), `camera_id`, `timestamp_ms` (0: results can be compared).
        Raises CallFailedError; a result of status ERROR is returned.
        """
        return self._call("execute", image, pid, **only(_ARGUMENTS, "execute", more))

    def reset(self, session: SessionRef | str) -> None:
        """Has the algorithm forget a session. Raises CallFailedError."""
        self._answer(Call(phase="reset", session=_reference(session, final=False)))

    def _call(
        self,
        phase: str,
        image: NDArray[np.uint8] | None,
        pid: str,
        *,
        step_index: int = 1,
        session: SessionRef | str | None = None,
        user_params: Mapping[str, Any] | None = None,
        final: bool = False,
        camera_id: str | None = None,
        timestamp_ms: int = 0,
    ) -> CallResult:
        call = Call(
            phase=phase,
            step_index=step_index,
            pid=pid,
            session=_reference(session, final=final),
            user_params=plain(dict(user_params), "user_params") if user_params else None,
        )
        size = None
        if image is not None:
            call.shared_mem_id, call.image_meta = self._pictures.put(image)
            call.image_meta["timestamp_ms"] = timestamp_ms
            if camera_id is not None:
                call.image_meta["camera_id"] = camera_id
            size = (image.shape[1], image.shape[0])
        result, took_ms = self._answer(call)
        return checked(result, phase, size, took_ms)

    def _answer(self, call: Call) -> tuple[Result, float]:
        if self._worker is None:
            raise RuntimeError("this InMemoryRunner doesn't run; hint: use it in a with block")
        began = time.perf_counter()
        with bind_image_reader(self._images.read):
            answer = self._worker.run(call)
        took_ms = round((time.perf_counter() - began) * 1000, 3)
        self._worker.answered(call, answer, took_ms)
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


_ARGUMENTS = frozenset(InMemoryRunner._call.__kwdefaults__ or {})


def _reference(session: SessionRef | str | None, *, final: bool) -> SessionRef:
    if session is None:
        return SessionRef(id=secrets.token_hex(8), final=True)
    if isinstance(session, str):
        return SessionRef(id=session, final=final)
    return SessionRef(id=session.id, context=session.context, final=final or session.final)


def _folder(algorithm: type[BaseAlgorithm]) -> Path:
    """The innermost folder of the class's package that has a manifest; the module's own where none has."""
    file = getattr(sys.modules[algorithm.__module__], "__file__", None)
    if file is None:
        return Path()
    folder = Path(file).parent
    depth = algorithm.__module__.count(".") + (1 if Path(file).name == "__init__.py" else 0)
    for candidate in [folder, *folder.parents][: max(depth, 1)]:
        if (candidate / MANIFEST_FILE).is_file():
            return candidate
    return folder
