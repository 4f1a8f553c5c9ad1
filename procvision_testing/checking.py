"""Does an algorithm keep its side of the contract, whatever it is for? `check_algorithm` for tests, `examine` for rows.

Nobody knows here what a good product looks like, so no verdict is right or wrong. What is looked at is what every
host relies on: answers have the form that the protocol promises, what goes wrong is said by an error of our tree or by
status ERROR, nothing that wasn't seen is OK, and a session's end leaves nothing behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.manifest.model import ANY_PID, Manifest, Step
from procvision_testing.findings import Finding
from procvision_testing.parameters import UnknownValueError, bounds, sample_params
from procvision_testing.samples import SamplePictures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from procvision_sdk.call_result import CallResult
    from procvision_sdk.calling import AlgorithmRunner

    Picture = NDArray[np.uint8]

UNNAMED_PRODUCT = "unnamed"
"""The product id that is sent where the manifest takes any."""
MAX_PIDS = 5
"""So many product ids are tried; a manifest may have hundreds."""
SAID_SO = frozenset({"recoverable", "gpu_out_of_memory", "fatal", "no_such_image", "not_this_calls_image", "program"})
"""Kinds of error that an algorithm may answer with: it said itself what is wrong. `program` if it was meant."""
PROGRAM_ERRORS = frozenset({"ProgramError", "AlgorithmError"})


_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "program": "return Failed(code, text), or raise RecoverableError, ProgramError or FatalError: "
        "an operator reads it",
        "picture_not_read": 'read the picture in execute; "reads_picture": false in manifest.json where a verdict '
        "needs none",
        "timeout": "answer sooner, or give calls a longer time: a line waits no longer than its deadline",
        "exited": "an algorithm raises or returns Failed(code, text): it doesn't end its process",
        "crashed": "native code that the algorithm calls ended its process: the host's log has where",
    }
)
"""Kind of error -> what to do, where the error itself doesn't say it better."""
_READ_ONLY = re.compile("read-?only", re.IGNORECASE)
"""How NumPy and OpenCV say that an array can't be written."""


class ContractBrokenError(AssertionError):
    """An algorithm does not keep the contract. `findings` are all rows, the text names those that failed."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        failed = [finding for finding in findings if finding.level == "failed"]
        lines = [f"{finding.title}: {finding.detail}" + (f"\n  hint: {finding.hint}" if finding.hint else "")
                 for finding in failed]  # fmt: skip
        super().__init__(f"{len(failed)} of {len(findings)} checks failed\n" + "\n".join(lines))


def check_algorithm(runner: AlgorithmRunner, *, pictures: Mapping[str, Picture] | None = None) -> list[Finding]:
    """Examine a runner's algorithm; give the findings. Raises ContractBrokenError if one failed.

    def test_it_keeps_the_contract(in_memory_runner):
        check_algorithm(in_memory_runner(WeldCheck))
    """
    findings = list(examine(runner, pictures=pictures))
    if any(finding.level == "failed" for finding in findings):
        raise ContractBrokenError(findings)
    return findings


def examine(runner: AlgorithmRunner, *, pictures: Mapping[str, Picture] | None = None) -> Iterator[Finding]:
    """Look at everything that can be seen from outside, a finding after the other.

    ``pictures`` are the algorithm's own samples by name (H x W x 3 or H x W, uint8), the first of them a usual
    product, beside a plate, a marked one, a mono one and a black one.
    """
    try:
        told = runner.info()
        manifest = msgspec.convert(told["manifest"], Manifest)
    except (ProcVisionError, KeyError, msgspec.ValidationError) as error:
        yield Finding("get_info() answers", "failed", f"{type(error).__name__}: {error}")
        return
    yield from info_findings(manifest, told.get("info", {}))
    samples = SamplePictures()
    made = {"good": samples.good, "marked": samples.bad, "mono": samples.mono, "black": samples.black}
    shown = {**(pictures or {}), **made}
    examiner = _Examiner(runner, manifest)
    for step in manifest.steps:
        yield from examiner.step(step, shown)


def info_findings(manifest: Manifest, info: Mapping[str, Any]) -> Iterator[Finding]:
    """Hold `get_info()` against the manifest: it may leave out what it wants, and contradict nothing."""
    declared = msgspec.to_builtins(manifest)
    contradictions = []
    for key in declared.keys() & info.keys():
        said = info[key]
        if key == "steps":
            said, stated = _steps_in_short(said), _steps_in_short(declared[key])
        else:
            stated = declared[key]
        if said != stated:
            contradictions.append(f"{key} is {said!r:.120}, the manifest has {stated!r:.120}")
    if contradictions:
        hint = "read manifest.json in get_info(), or return only what the manifest doesn't say"
        yield Finding("get_info() agrees with the manifest", "failed", "; ".join(contradictions), hint)
    else:
        yield Finding("get_info() agrees with the manifest", detail=f"{len(info)} field{'s' if len(info) != 1 else ''}")


def _steps_in_short(steps: Any) -> Any:
    """Return what two spellings of the same steps have in common: numbers, names, keys of parameters."""
    try:
        return [
            (step.get("index"), step.get("name"), [param.get("key") for param in step.get("params", ())])
            for step in steps
        ]
    except (AttributeError, TypeError):
        return steps


class _Examiner:
    def __init__(self, runner: AlgorithmRunner, manifest: Manifest) -> None:
        self._runner = runner
        declared = [pid for pid in manifest.supported_pids if pid != ANY_PID]
        self._pids = (declared or [UNNAMED_PRODUCT])[:MAX_PIDS]
        self.judged = False

    def step(self, step: Step, pictures: Mapping[str, Picture]) -> Iterator[Finding]:
        """Everything about one step."""
        where = f"step {step.index}"
        good = next(iter(pictures.values()))
        height, width = good.shape[:2]
        try:
            params = sample_params(step.params, (width, height))
        except UnknownValueError as error:
            yield Finding(f"{where}: calls with sample pictures", "skipped", str(error), "give the parameter a default")
            return
        self.judged = False
        for pid in self._pids:
            for name, picture in pictures.items():
                yield self._both_phases(f"{where}, product {pid}: pre and execute with a {name} picture", step, pid,
                                        picture, params)  # fmt: skip
        if not self.judged:
            hint = "give pictures of the product, which it can inspect"
            yield Finding(f"{where}: a verdict is seen", "warning", "every picture ended in an error", hint)
        pid = self._pids[0]
        yield self._guarded(f"{where}: execute without pre", lambda: [self._execute(step, pid, good, params)])
        yield self._without_picture(f"{where}: no picture is never OK", step, pid, params)
        for key, value in bounds(step.params):
            yield self._both_phases(f"{where}: {key} = {value!r}", step, pid, good, params | {key: value})
        yield self._reset(f"{where}: reset() and the same session again", step, pid, good, params)

    def _both_phases(self, title: str, step: Step, pid: str, picture: Picture, params: Mapping[str, Any]) -> Finding:
        def calls() -> list[CallResult]:
            session = self._runner.session(context={"examined_by": "procvision"})
            facts: dict[str, Any] = {"pid": pid, "step_index": step.index, "user_params": params, "session": session}
            prepared = self._runner.pre_execute(picture, **facts)
            return [prepared, self._runner.execute(picture, final=True, **facts)]

        return self._guarded(title, calls)

    def _execute(self, step: Step, pid: str, picture: Picture | None, params: Mapping[str, Any]) -> CallResult:
        return self._runner.execute(picture, pid=pid, step_index=step.index, user_params=params)

    def _without_picture(self, title: str, step: Step, pid: str, params: Mapping[str, Any]) -> Finding:
        results: list[CallResult] = []

        def call() -> list[CallResult]:
            results.append(self._execute(step, pid, None, params))
            return results

        finding = self._guarded(title, call)
        if results and results[0].verdict == "OK":
            hint = "read the picture in execute, or return Failed('1002', ...) where shared_mem_id is empty"
            return Finding(title, "failed", "a call without a picture was answered OK", hint)
        return finding

    def _reset(self, title: str, step: Step, pid: str, picture: Picture, params: Mapping[str, Any]) -> Finding:
        def calls() -> list[CallResult]:
            session = self._runner.session()
            facts: dict[str, Any] = {"pid": pid, "step_index": step.index, "user_params": params, "session": session}
            self._runner.pre_execute(picture, **facts)
            self._runner.reset(session)
            return [self._runner.pre_execute(picture, **facts), self._runner.execute(picture, final=True, **facts)]

        return self._guarded(title, calls)

    def _guarded(self, title: str, calls: Callable[[], list[CallResult]]) -> Finding:
        try:
            results = calls()
        except ProcVisionError as error:
            return _of_error(title, error)
        self.judged = self.judged or any(result.verdict for result in results)
        said = [result.verdict or (f"{result.status} {result.error_code or ''}".strip()) for result in results]
        return Finding(title, detail=", then ".join(said))


def _of_error(title: str, error: ProcVisionError) -> Finding:
    code, kind = getattr(error, "error_code", "?"), getattr(error, "kind", getattr(error, "cause", ""))
    raised = (getattr(error, "detail", None) or {}) if isinstance(getattr(error, "detail", None), dict) else {}
    meant = kind in SAID_SO and (kind != "program" or raised.get("exception") in PROGRAM_ERRORS)
    where = f" ({raised['where']})" if "where" in raised else ""
    said, _, hint = str(error).partition("; hint: ")
    text = f"[{code} {kind}] {said}{where}"
    if meant:
        return Finding(title, detail=text)
    if kind == "program":
        hint = _mended(raised.get("exception"), said) or hint or _HINTS["program"]
    else:
        hint = _HINTS.get(kind, hint)
    return Finding(title, "failed", text, hint)


def _mended(exception: Any, said: str) -> str:
    """Return what to do about a usual mistake, "" for any other."""
    if exception == "PlainValueError":
        return "array.tolist(), float(number) or str(text) make what JSON can carry"
    if _READ_ONLY.search(said):
        return "the picture is read-only and nobody made a copy: picture = picture.copy() before it is changed"
    return ""
