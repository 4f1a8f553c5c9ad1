"""One inspection through a real host: for each step `pre`, with the reference if there is one, and `execute`."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
from attrs import field, frozen

from procvision_runner import CallFailedError, RunnerError
from procvision_sdk.errors import ErrorCode
from procvision_sdk.masking import masked_command
from procvision_tools.cli.hosts import Hosting, Launched, launched
from procvision_tools.cli.noticing import notices
from procvision_tools.cli.products import params_of, pid_of, steps_of
from procvision_tools.cli.program import program
from procvision_tools.hints import split_hint
from procvision_tools.names import shown
from procvision_tools.report.inspection import Inspection, LogLine
from procvision_tools.report.measurements import Measurement, measurements
from procvision_tools.sources.picture_files import Frame, PictureFile, PictureFileError, load, unused_bits

if TYPE_CHECKING:
    from pathlib import Path

    from procvision_runner import CallResult, InspectionSession
    from procvision_runner.connection.launch import SpawnedHost
    from procvision_sdk.errors import ProcVisionError
    from procvision_sdk.manifest.model import Step


_ASKS_FOR_A_REFERENCE = re.compile(r"\b(?:pre|reference)\b")
"""In an algorithm's message: it misses what `pre` would have given it."""
OF_REFERENCE = "with the reference: "
"""Before a message that is about the reference, not the picture."""
_DAMAGED = frozenset({"image_damaged", "image_mismatch"})
"""The host's words for an encoded picture that it can't decode as it is described."""
_READ_NO_PICTURE = "not_this_calls_image"
"""The host's word for an algorithm that reads a picture in a call that has none."""


@frozen(kw_only=True)
class InspectionRequest:
    """What to inspect, and how."""

    hosting: Hosting
    image: Path | Frame
    reference: Path | None = None
    pid: str | None = None
    step_index: int | None = None
    """None is the whole inspection: all steps in the manifest's order, in one session."""
    params: tuple[str, ...] = ()
    """``key=value``, as they were given."""
    bits: int | None = None
    """Of samples of 16 bits in a grey PNG, how many are used; None is all."""
    repeatable: bool = True
    """Whether the inspection shows a command line that repeats it; of thousands nobody reads it."""
    read: Mapping[Path, PictureFile] = field(factory=dict, repr=False)
    """Files that were read already, by the names above."""

    @property
    def title(self) -> str:
        """What is inspected, for people and for the host: the file's name as text."""
        return self.image.name if isinstance(self.image, Frame) else shown(self.image.name)

    def command(self) -> str:
        """Give the command line that repeats it; "" where none is shown, or no file holds the picture."""
        if isinstance(self.image, Frame) or not self.repeatable:
            return ""
        words = [program(), "run", self.hosting.algorithm, *self.hosting.arguments]
        if self.hosting.timeout_s is not None:
            words += ["--timeout-s", f"{self.hosting.timeout_s:g}"]
        if self.reference is not None:
            words += ["--reference", shown(self.reference)]
        words += ["--image", shown(self.image)]
        if self.pid is not None:
            words += ["--pid", self.pid]
        if self.step_index is not None:
            words += ["--step", str(self.step_index)]
        for pair in self.params:
            words += ["--param", pair]
        if self.bits is not None:
            words += ["--bits", str(self.bits)]
        return shlex.join(masked_command(words))


@frozen(kw_only=True)
class InspectionOutcome:
    """An inspection, and what a report on it doesn't show."""

    inspection: Inspection
    session_id: str = ""
    """The session in which it took place; "" where it came to none."""
    failure: str = ""
    """What kind of ERROR it is, in a word, with the error code."""
    damaged: bool = False
    """Whether the picture, or the reference, can't be read: the algorithm has nothing to do with it."""
    debug: Mapping[str, Any] = MappingProxyType({})
    """What the algorithm published with its last answer."""
    last_words: Sequence[Mapping[str, Any]] = ()
    """The last log records of a host that an ERROR is about."""

    def with_logs(self, records: Sequence[Mapping[str, Any]], *, alone: bool = True) -> Inspection:
        """Give the inspection with what was logged in its session and, where it was ``alone``, outside of any.

        Of many, one that ended a host has what that host said outside of any, too.
        """
        sessions = (None, "", self.session_id) if alone or self.last_words else (self.session_id,)
        lines = tuple(
            LogLine(str(record.get("level", "?")), str(record.get("message", "")))
            for record in (records if alone else self.last_words or records)
            if record.get("session_id") in sessions
        )
        return attrs.evolve(self.inspection, logs=lines)


def inspect_alone(request: InspectionRequest, spawned: SpawnedHost | None = None) -> Inspection:
    """Launch a host for one inspection, or take one that was spawned.

    What goes wrong beyond the command line is an inspection too: ERROR.

    Raises CommandError (exit status 64) for a wrong parameter, step or product id.
    """
    outcome = None
    try:
        files = _Files.of(request)
        with launched(request.hosting, spawned) as ready:
            outcome = _inspect(ready, request, files)
        deep = unused_bits([files.image.path] if isinstance(files.image, PictureFile) else [], request.bits)
        return attrs.evolve(outcome.with_logs(ready.logs), notices=(*notices(ready.logs), *deep))
    except (RunnerError, PictureFileError) as error:
        if outcome is None:
            outcome = _failed(request, error)
        return outcome.with_logs(getattr(error, "logs", ()))


def inspect(
    ready: Launched, request: InspectionRequest, session: InspectionSession | None = None, *, final: bool = True
) -> InspectionOutcome:
    """Inspect one product, in a session of its own or in one that goes on; a call that fails gives an ERROR.

    Raises CommandError (exit status 64) as `inspect_alone` does.
    """
    try:
        files = _Files.of(request)
    except PictureFileError as error:
        return _failed(request, error)
    return _inspect(ready, request, files, session, final=final)


@frozen
class _Files:
    image: PictureFile | Frame
    reference: PictureFile | None

    @classmethod
    def of(cls, request: InspectionRequest) -> _Files:
        def file_of(path: Path) -> PictureFile:
            return request.read.get(path) or load(path)

        image = request.image if isinstance(request.image, Frame) else file_of(request.image)
        return cls(image, None if request.reference is None else file_of(request.reference))


def _inspect(
    ready: Launched,
    request: InspectionRequest,
    files: _Files,
    session: InspectionSession | None = None,
    *,
    final: bool = True,
) -> InspectionOutcome:
    call = _Call(ready, request, (files.image.width, files.image.height))
    session_id = ""
    try:
        session = session or ready.runner.session(context={"title": request.title})
        session_id = session.id
        for step in call.steps:
            if not call.prepared(step, files.reference, session):
                break
            last = final and step is call.steps[-1]
            if not call.made("execute", step, files.image, session, final=last):
                break
        return attrs.evolve(call.ended(), session_id=session_id)
    except (RunnerError, PictureFileError) as error:
        return attrs.evolve(call.failed(error), session_id=session_id)


class _Call:
    """The calls of one inspection, timed, with what they have in common and what they gave."""

    def __init__(self, ready: Launched, request: InspectionRequest, size: tuple[int, int]) -> None:
        self._runner, self._request, self._left_out = ready.runner, request, ready.pre_left_out
        manifest = ready.manifest
        self.steps = steps_of(manifest, request.step_index)
        self._pid = pid_of(manifest, request.pid)
        self._params = params_of(manifest, self.steps, request.params, size)
        self._version = manifest.version
        self._diagnostics = manifest.diagnostics
        self._at = datetime.now().astimezone()
        self._times = {} if ready.start_ms is None else {"start": ready.start_ms}
        self._phase = ""
        self._answers: list[tuple[Step, CallResult]] = []

    def prepared(self, step: Step, reference: PictureFile | None, session: InspectionSession) -> bool:
        """Make a step's `pre`; False where its answer ends the inspection. Raises as `made` does.

        Without a reference it is made without a picture, and one that reads its picture all the same is left out: what
        it means that nothing was prepared, `execute` says. Any other failure is one.
        """
        if reference is None and step.index in self._left_out:
            return True
        try:
            return self.made("pre", step, reference, session)
        except CallFailedError as error:
            if reference is not None or error.kind != _READ_NO_PICTURE:
                raise
        self._left_out.add(step.index)
        self._times.pop(self._timed("pre", step))
        return True

    def made(
        self,
        phase: str,
        step: Step,
        file: PictureFile | Frame | None,
        session: InspectionSession,
        *,
        final: bool = False,
    ) -> bool:
        """Make one call; False where its answer ends the inspection.

        Raises RunnerError, and PictureFileError for a size that no picture has.
        """
        self._phase = phase
        picture = None if file is None else file.picture(self._request.bits)
        facts: dict[str, Any] = {
            "pid": self._pid,
            "step_index": step.index,
            "session": session,
            "user_params": self._params[step.index],
        }
        started = time.perf_counter()
        try:
            if phase == "pre":
                result = self._runner.pre_execute(picture, **facts)
            else:
                result = self._runner.execute(picture, final=final, **facts)
        finally:
            self._times[self._timed(phase, step)] = (time.perf_counter() - started) * 1000
        self._answers.append((step, result))
        return result.status == "OK"

    def _timed(self, phase: str, step: Step) -> str:
        return phase if len(self.steps) == 1 else f"{phase} {step.index}"

    def ended(self) -> InspectionOutcome:
        """Give the inspection that the answers make: its verdict is the worst of the steps'."""
        last = self._answers[-1][1]
        executed = [(step, result) for step, result in self._answers if result.phase == "execute"]
        debug = executed[-1][1].debug if executed else {}
        message, hint = split_hint(last.message)
        if last.status != "OK":
            misses_it = self._phase == "pre" and last.error_code == ErrorCode.IMAGE_LOAD_FAILED
            if self._request.reference is None and (misses_it or _ASKS_FOR_A_REFERENCE.search(last.message)):
                hint = "--reference PICTURE is what `pre` learns from"
            code = last.error_code or ""
            inspection = self._inspection(
                verdict="ERROR",
                message=self._of_reference(message),
                hint=hint,
                error_code=code,
                measurements=self._measured(executed),
            )
            return InspectionOutcome(inspection=inspection, failure=f"answered ERROR {code}".rstrip(), debug=debug)
        inspection = self._inspection(
            verdict="NG" if any(result.verdict == "NG" for _, result in executed) else last.verdict or "ERROR",
            message=self._told((step, split_hint(result.message)[0]) for step, result in executed),
            hint=hint,
            ng_reason=self._told((step, result.ng_reason or "") for step, result in executed),
            defects=tuple(defect for _, result in executed for defect in result.defects),
            measurements=self._measured(executed),
        )
        return InspectionOutcome(inspection=inspection, debug=debug)

    def _measured(self, executed: Iterable[tuple[Step, CallResult]]) -> tuple[Measurement, ...]:
        """Return what the steps published, each under its name where there are several."""
        several = len(self.steps) > 1
        return tuple(
            measured
            for step, result in executed
            for measured in measurements(result.debug, self._diagnostics, f"{step.name}: " if several else "")
        )

    def _told(self, words: Iterable[tuple[Step, str]]) -> str:
        """Return what the steps said, each under its name where there are several."""
        if len(self.steps) == 1:
            return "".join(text for _, text in words)
        return "\n".join(f"{step.name}: {text}" for step, text in words if text)

    def failed(self, error: ProcVisionError) -> InspectionOutcome:
        """Give the inspection that an error ends."""
        outcome = _failed(self._request, error, **self._facts())
        message = self._of_reference(outcome.inspection.message)
        return attrs.evolve(outcome, inspection=attrs.evolve(outcome.inspection, message=message))

    def _of_reference(self, message: str) -> str:
        """Say with a message that it is about the reference, where it is."""
        about_it = self._phase == "pre" and self._request.reference is not None
        return f"{OF_REFERENCE}{message}" if about_it else message

    def _inspection(self, **changes: Any) -> Inspection:
        return Inspection(
            title=self._request.title,
            algorithm=self._request.hosting.algorithm,
            command=self._request.command(),
            **self._facts(),
            **changes,
        )

    def _facts(self) -> dict[str, Any]:
        return {
            "version": self._version,
            "at": self._at,
            "pid": self._pid,
            "params": self._all_params(),
            "times_ms": dict(self._times),
        }

    def _all_params(self) -> dict[str, Any]:
        """Return those that were given and the defaults, under the step's name where there are several steps."""
        found: dict[str, Any] = {}
        for step in self.steps:
            defaults = {
                parameter.key: msgspec.to_builtins(parameter.default)
                for parameter in step.params
                if parameter.default is not msgspec.UNSET
            }
            named = "" if len(self.steps) == 1 else f"{step.name}: "
            found |= {f"{named}{key}": value for key, value in (defaults | self._params[step.index]).items()}
        return found


def _failed(request: InspectionRequest, error: ProcVisionError, **facts: Any) -> InspectionOutcome:
    message, hint = split_hint(str(error))
    code = str(getattr(error, "error_code", None) or "")
    inspection = Inspection(
        **{
            "title": request.title,
            "algorithm": request.hosting.algorithm,
            "version": "",
            "pid": request.pid or "",
            "verdict": "ERROR",
            "message": message,
            "hint": hint,
            "error_code": code,
            "command": request.command(),
            "at": datetime.now().astimezone(),
            **facts,
        }
    )
    last_words = getattr(error, "logs", ())
    return InspectionOutcome(
        inspection=inspection,
        failure=f"{_kind(error)} {code}".rstrip(),
        damaged=isinstance(error, PictureFileError) or getattr(error, "kind", "") in _DAMAGED,
        last_words=last_words,
    )


def _kind(error: ProcVisionError) -> str:
    if isinstance(error, PictureFileError):
        return "unreadable picture"
    return str(getattr(error, "cause", "") or type(error).__name__).replace("_", " ")
