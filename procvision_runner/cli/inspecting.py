"""One inspection through a real host: launch, `pre` with the reference, `execute` with the product."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
from attrs import frozen

from procvision_runner import Picture, Runner, RunnerError
from procvision_runner.cli.errors import split_hint, usage_error
from procvision_runner.cli.params import parse_params
from procvision_runner.cli.picture_files import PictureFile, PictureFileError, load
from procvision_runner.cli.program import program
from procvision_runner.report.inspection import Inspection, LogLine
from procvision_sdk.manifest.model import ANY_PID, Manifest

if TYPE_CHECKING:
    from pathlib import Path

    from procvision_runner import CallResult, InspectionSession
    from procvision_sdk.errors import ProcVisionError

UNNAMED_PRODUCT = "unnamed"
"""The product id that is sent when none is given and the algorithm takes all."""


@frozen(kw_only=True)
class Request:
    """What to inspect, and how."""

    algorithm: str
    image: Path
    reference: Path | None = None
    pid: str | None = None
    step_index: int = 1
    params: tuple[str, ...] = ()
    """``key=value``, as they were given."""

    def command(self) -> str:
        """Give the command line that repeats it."""
        words = [program(), "run", self.algorithm]
        if self.reference is not None:
            words += ["--reference", str(self.reference)]
        words += ["--image", str(self.image)]
        if self.pid is not None:
            words += ["--pid", self.pid]
        if self.step_index != 1:
            words += ["--step", str(self.step_index)]
        for pair in self.params:
            words += ["--param", pair]
        return shlex.join(words)


@frozen
class Station:
    """A host that is ready, and what its algorithm declares."""

    runner: Runner
    manifest: Manifest
    start_ms: float | None
    """How long that took; None once it was told."""


@contextmanager
def launched(algorithm: str) -> Iterator[Station]:
    """Launch a host and take it down again. Raises RunnerError."""
    started = time.perf_counter()
    with Runner(algorithm) as runner:
        manifest = msgspec.convert(runner.info()["manifest"], Manifest)
        yield Station(runner, manifest, _since(started))


@frozen
class Outcome:
    """An inspection, and the session in which it took place ("" where it came to none)."""

    inspection: Inspection
    session_id: str = ""

    def with_logs(self, records: Sequence[Mapping[str, Any]]) -> Inspection:
        """Give the inspection with what was logged in its session, and outside of any."""
        lines = tuple(
            LogLine(str(record.get("level", "?")), str(record.get("message", "")))
            for record in records
            if record.get("session_id") in (None, "", self.session_id)
        )
        return attrs.evolve(self.inspection, logs=lines)


def inspect_alone(request: Request) -> Inspection:
    """Launch a host for one inspection. What goes wrong beyond the command line is an inspection too: ERROR.

    Raises CommandError (exit status 64) for a file that can't be read, a wrong parameter, step or product id.
    """
    outcome = None
    try:
        files = _Files.of(request)
        with launched(request.algorithm) as station:
            outcome = _inspect(station, request, files)
        return outcome.with_logs(station.runner.logs)
    except (RunnerError, PictureFileError) as error:
        if outcome is None:
            outcome = Outcome(_failed(request, error))
        return outcome.with_logs(getattr(error, "logs", ()))


def inspect(station: Station, request: Request) -> Outcome:
    """Inspect one product in a session of its own; a call that fails gives an inspection with ERROR.

    Raises CommandError (exit status 64) as `inspect_alone` does.
    """
    try:
        files = _Files.of(request)
    except PictureFileError as error:
        return Outcome(_failed(request, error))
    return _inspect(station, request, files)


@frozen
class _Files:
    image: PictureFile
    reference: PictureFile | None

    @classmethod
    def of(cls, request: Request) -> _Files:
        return cls(load(request.image), None if request.reference is None else load(request.reference))


def _inspect(station: Station, request: Request, files: _Files) -> Outcome:
    call = _Call(station, request, (files.image.width, files.image.height))
    session_id = ""
    try:
        session = station.runner.session(context={"title": request.image.name})
        session_id = session.id
        if files.reference is not None:
            prepared = call.timed("pre", files.reference, session)
            if prepared.status != "OK":
                return Outcome(call.ended(prepared), session_id)
        return Outcome(call.ended(call.timed("execute", files.image, session)), session_id)
    except (RunnerError, PictureFileError) as error:
        return Outcome(call.failed(error), session_id)


class _Call:
    """The calls of one inspection, timed, with what they have in common."""

    def __init__(self, station: Station, request: Request, size: tuple[int, int]) -> None:
        self._runner, self._request = station.runner, request
        manifest = station.manifest
        self._pid = _pid(manifest, request.pid)
        self._params = parse_params(manifest, request.step_index, request.params, size)
        self._version = manifest.version
        self._defaults = {
            parameter.key: msgspec.to_builtins(parameter.default)
            for parameter in _parameters(manifest, request.step_index)
            if parameter.default is not msgspec.UNSET
        }
        self._times = {} if station.start_ms is None else {"start": station.start_ms}
        self._phase = ""

    def timed(self, phase: str, file: PictureFile, session: InspectionSession) -> CallResult:
        """Make one call. Raises RunnerError, and PictureFileError for a size that no picture has."""
        self._phase = phase
        try:
            picture = Picture.encoded(file.data, file.width, file.height, file.color_space, encoding=file.encoding)
        except ValueError as error:
            raise PictureFileError(f"{file.path}: {error}") from error
        facts: dict[str, Any] = {"pid": self._pid, "step_index": self._request.step_index, "session": session}
        started = time.perf_counter()
        try:
            if phase == "pre":
                return self._runner.pre_execute(picture, user_params=self._params, **facts)
            return self._runner.execute(picture, user_params=self._params, final=True, **facts)
        finally:
            self._times[phase] = _since(started)

    def ended(self, result: CallResult) -> Inspection:
        """Give the inspection that a result ends."""
        message, hint = split_hint(result.message)
        if result.status != "OK":
            message = self._of_reference(message)
            hint = hint if self._request.reference is not None else "--reference PICTURE is what `pre` learns from"
        return self._inspection(
            verdict=result.verdict or "ERROR",
            message=message,
            hint=hint,
            ng_reason=result.ng_reason or "",
            error_code=result.error_code or "",
            defects=tuple(result.defects),
        )

    def failed(self, error: ProcVisionError) -> Inspection:
        """Give the inspection that an error ends."""
        inspection = _failed(self._request, error, **self._facts())
        return attrs.evolve(inspection, message=self._of_reference(inspection.message))

    def _of_reference(self, message: str) -> str:
        """Say with a message that it is about the reference, where it is."""
        return f"with the reference: {message}" if self._phase == "pre" else message

    def _inspection(self, **changes: Any) -> Inspection:
        return Inspection(
            title=self._request.image.name,
            algorithm=self._request.algorithm,
            command=self._request.command(),
            **self._facts(),
            **changes,
        )

    def _facts(self) -> dict[str, Any]:
        return {
            "version": self._version,
            "pid": self._pid,
            "params": self._defaults | self._params,
            "times_ms": dict(self._times),
        }


def _failed(request: Request, error: ProcVisionError, **facts: Any) -> Inspection:
    message, hint = split_hint(str(error))
    return Inspection(
        **{
            "title": request.image.name,
            "algorithm": request.algorithm,
            "version": "",
            "pid": request.pid or "",
            "verdict": "ERROR",
            "message": message,
            "hint": hint,
            "error_code": str(getattr(error, "error_code", None) or ""),
            "command": request.command(),
            **facts,
        }
    )


def _parameters(manifest: Manifest, step_index: int) -> Sequence[Any]:
    step = manifest.step(step_index)
    return step.params if step is not None else ()


def _pid(manifest: Manifest, given: str | None) -> str:
    """Give the product id to send: the given one, else the only one there is."""
    declared = [pid for pid in manifest.supported_pids if pid != ANY_PID]
    if given is not None:
        if not manifest.supports(given):
            raise usage_error(f"--pid {given}: {manifest.name} doesn't inspect it", f"it takes {', '.join(declared)}")
        return given
    if ANY_PID in manifest.supported_pids:
        return UNNAMED_PRODUCT
    if len(declared) > 1:
        raise usage_error(f"{manifest.name} inspects several products", f"--pid with one of {', '.join(declared)}")
    return declared[0]


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
