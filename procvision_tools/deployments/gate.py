"""What a version has to pass before it is activated: signature, files, `validate`, golden pictures, the report.

Golden pictures are a folder with `golden.json`: a list of objects with `file`, `expected` (OK or NG), `pid`, and where
wanted `reference`, `step_index`, `user_params` and `boxes`, each with `label`, `x`, `y`, `width`, `height`: each has to
be met by a defect of that label. Without it the folder has pictures in `OK/` and `NG/`.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from procvision_runner import CallError, CallResult, LaunchError, Runner, RunnerOptions
from procvision_runner.deployments import Deployment, check_whole, read_deployment
from procvision_runner.options import IsolationLevel
from procvision_sdk.errors import ProcVisionError
from procvision_sdk.manifest.needs import grants_of, parse_grant
from procvision_sdk.regular_files import read_regular
from procvision_testing import Finding
from procvision_tools.bundling.bundle import INDEX, MAX_INDEX_BYTES, MAX_SIGNATURE_BYTES, SIGNATURE
from procvision_tools.bundling.errors import BundleError
from procvision_tools.bundling.installing import clean_environment
from procvision_tools.bundling.signing import verified
from procvision_tools.bundling.trust_store import TrustStore
from procvision_tools.hints import split_hint
from procvision_tools.sealed import seal_of

GOLDEN_FILE = "golden.json"
MAX_GOLDEN_BYTES = 16 << 20
MAX_REPORT_BYTES = 256 << 20
REPORT_FORMAT = "procvision-requalification/1"
_BEFORE_ANY_END = datetime.datetime.min.replace(tzinfo=datetime.UTC)
MIN_OVERLAP = 0.5
"""Intersection over union, the bound of PASCAL VOC, which most measures of detection begin with."""


class Box(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a defect is expected."""

    label: str
    x: float
    y: float
    width: float
    height: float


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A picture whose verdict is known."""

    file: str
    expected: Literal["OK", "NG"]
    pid: str = "*"
    reference: str | None = None
    step_index: int = 1
    user_params: dict[str, Any] = {}
    boxes: list[Box] = []


class _Subject(msgspec.Struct):
    text: str
    kind: str
    distribution: str
    identity: str


class _Judgement(msgspec.Struct):
    sentence: str


class _Bound(msgspec.Struct):
    text: str
    holds: bool
    value: float | None


class _Report(msgspec.Struct):
    """What counts here of a requalification's report."""

    format: str
    new: _Subject
    judgement: _Judgement
    kept: bool
    bounds: list[_Bound]


class GoldenError(ProcVisionError):
    """The golden pictures can't be used. The text ends with a hint."""


def gate(
    folder: Path,
    store: TrustStore,
    when: datetime.datetime,
    *,
    golden: Path | None = None,
    report: Path | None = None,
    grants: tuple[str, ...] = (),
    isolation: IsolationLevel = "strict",
    timeout_s: float = 120.0,
) -> Iterator[Finding]:
    """Give the findings, one after the other. The first that failed is the last.

    What is run of it is shut in as far as ``isolation`` says, with the needs that are granted.
    """
    shut_in = Shutting(isolation, grants)
    try:
        deployment = read_deployment(folder)
    except LaunchError as error:
        yield Finding("it is installed", "failed", *split_hint(str(error)))
        return
    yield from _until_failed(_granted(deployment, grants), _signature(deployment, store, when), _files(deployment),
                             _report(deployment, report),
                             _validated(deployment, shut_in, timeout_s),
                             _golden(deployment, golden, shut_in, timeout_s))  # fmt: skip


def rows(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """Return what a history keeps of findings."""
    return [{"title": finding.title, "level": finding.level, "detail": finding.detail} for finding in findings]


def _until_failed(*parts: Iterator[Finding]) -> Iterator[Finding]:
    for part in parts:
        failed = False
        for finding in part:
            yield finding
            failed = failed or finding.level == "failed"
        if failed:
            return


def _signature(deployment: Deployment, store: TrustStore, when: datetime.datetime) -> Iterator[Finding]:
    title = "a key that is trusted here has signed it"
    if deployment.facts.get("signed_by") is None:
        yield Finding(title, "warning", "it was installed unsigned, which was allowed")
        return
    try:
        data = read_regular(deployment.folder / INDEX, MAX_INDEX_BYTES)
        signature = read_regular(deployment.folder / SIGNATURE, MAX_SIGNATURE_BYTES)
        key = verified(data, signature, deployment.name, store, when)
    except BundleError as error:
        message, hint = split_hint(str(error))
        yield Finding(title, "failed", f"[{error.error_code}] {message}", hint)
    except OSError as error:
        yield Finding(title, "failed", f"[2001] {error.filename}: {error.strerror}")
    else:
        yield Finding(title, detail=f"{key.name}, {key.id[:16]}")


def way_back(
    folder: Path, store: TrustStore, when: datetime.datetime, *, allow_revoked: bool = False
) -> Iterator[Finding]:
    """Give the findings of a version that passed the gate before, and is to be active again: nothing of it is run.

    Its files and its signature are held as at the gate, but a key that has ended since is a warning: its end says until
    when its new versions are taken in. One that was revoked is refused, or with ``allow_revoked`` a warning, too.
    """
    try:
        deployment = read_deployment(folder)
    except LaunchError as error:
        yield Finding("it is installed", "failed", *split_hint(str(error)))
        return
    yield from _until_failed(_signature_then(deployment, store, when, allow_revoked), _files(deployment))


def _signature_then(
    deployment: Deployment, store: TrustStore, when: datetime.datetime, allow_revoked: bool
) -> Iterator[Finding]:
    finding = next(_signature(deployment, store, when))
    if finding.level != "failed":
        yield finding
        return
    ended = next(_signature(deployment, store, _BEFORE_ANY_END))
    if ended.level == "failed" and allow_revoked:
        valid = [msgspec.structs.replace(key, revoked=None) for key in store.keys]
        ended = next(_signature(deployment, TrustStore(store.path, valid), _BEFORE_ANY_END))
    if ended.level == "failed":
        yield ended
    else:
        yield Finding(finding.title, "warning", finding.detail)


def _files(deployment: Deployment) -> Iterator[Finding]:
    title = "every file is as it was installed"
    try:
        yield Finding(title, detail=f"{check_whole(deployment.folder)} files, and the interpreter")
    except LaunchError as error:
        message, hint = split_hint(str(error))
        yield Finding(title, "failed", f"[{error.error_code}] {message}", hint)


def _environment() -> dict[str, str]:
    """Return this environment with the words that keep an installed one as it was: nothing is compiled into it."""
    return {**clean_environment(), "PYTHONDONTWRITEBYTECODE": "1"}


def _granted(deployment: Deployment, grants: tuple[str, ...]) -> Iterator[Finding]:
    unknown = sorted({whose for whose, _ in map(parse_grant, grants) if whose} - set(deployment.algorithms))
    if unknown:
        there = f"its algorithms are {', '.join(deployment.algorithms)}"
        yield Finding("grants name its algorithms", "failed", f"it has no {', '.join(unknown)}", there)


class Shutting(NamedTuple):
    """How far a version is shut in while it is tried."""

    isolation: IsolationLevel
    grants: tuple[str, ...]

    def command(self, deployment: Deployment, algorithm: str) -> tuple[str, ...]:
        """Return the words that launch a host so."""
        given = [word for need in grants_of(algorithm, self.grants) for word in ("--grant", need)]
        return (*deployment.command(algorithm), "--isolation", self.isolation, *given)


def _validated(deployment: Deployment, shut_in: Shutting, timeout_s: float) -> Iterator[Finding]:
    from procvision_tools.validation.checklist import checklist

    for name in deployment.algorithms:
        yield from checklist(name, _environment(), None, timeout_s, str(deployment.python),
                             isolation=shut_in.isolation, grants=grants_of(name, shut_in.grants))  # fmt: skip


def _golden(deployment: Deployment, folder: Path | None, shut_in: Shutting, timeout_s: float) -> Iterator[Finding]:
    if folder is None:
        return
    pictures = golden_pictures(folder)
    options = RunnerOptions(environment=_environment(), ready_timeout_s=timeout_s, execute_timeout_s=timeout_s,
                            pre_timeout_s=timeout_s)  # fmt: skip
    for name in deployment.algorithms:
        title = f"{len(pictures)} golden pictures have the verdicts that they should"
        wrong = []
        try:
            with Runner(command=shut_in.command(deployment, name), options=options) as runner:
                for picture in pictures:
                    why = _judged(runner, folder, picture)
                    if why is not None:
                        wrong.append(f"{picture.file}: {why}")
        except LaunchError as error:
            wrong.append(str(error))
        yield Finding(title, "failed" if wrong else "ok", "\n".join(wrong))


def golden_pictures(folder: Path) -> list[Golden]:
    """Read what is expected of a folder's pictures. Raises GoldenError."""
    file = folder / GOLDEN_FILE
    try:
        if file.exists():
            found = msgspec.json.decode(read_regular(file, MAX_GOLDEN_BYTES), type=list[Golden])
        else:
            verdicts: tuple[Literal["OK", "NG"], ...] = ("OK", "NG")
            found = [
                Golden(path.relative_to(folder).as_posix(), verdict)
                for verdict in verdicts
                for path in sorted((folder / verdict).glob("*"))
                if path.is_file() and not path.name.startswith(".")
            ]
    except (OSError, ValueError) as error:
        raise GoldenError(f"{file} can't be read: {error}; hint: a list of objects with file and expected") from error
    if not found:
        raise GoldenError(f"{folder} has no golden pictures; hint: {GOLDEN_FILE}, or pictures in OK/ and NG/")
    return found


def _judged(runner: Runner, folder: Path, golden: Golden) -> str | None:
    """Say in what a verdict differs from the one that is expected."""
    from procvision_tools.report.pictures import read_picture

    given: Mapping[str, Any] = {
        "pid": golden.pid, "step_index": golden.step_index, "user_params": golden.user_params,
        "session": runner.session(),
    }  # fmt: skip
    try:
        if golden.reference is not None:
            prepared = runner.pre_execute(read_picture(folder / golden.reference), **given)
            if prepared.status != "OK":
                return f"its reference can't be learnt: {prepared.message}"
        result = runner.execute(read_picture(folder / golden.file), final=True, **given)
    except OSError as error:
        return f"it can't be read: {error}"
    except CallError as error:
        return f"it has no result: {error}"
    if result.verdict != golden.expected:
        return (
            f"it should be {golden.expected}, and is {result.verdict or 'ERROR'}: {result.message or result.ng_reason}"
        )
    missed = [box for box in golden.boxes if not _met(box, result)]
    return f"no defect lies where {missed[0].label} is expected" if missed else None


def _met(box: Box, result: CallResult) -> bool:
    for defect in result.defects:
        wide = min(box.x + box.width, defect.x + defect.width) - max(box.x, defect.x)
        high = min(box.y + box.height, defect.y + defect.height) - max(box.y, defect.y)
        shared = max(0.0, wide) * max(0.0, high)
        union = box.width * box.height + defect.width * defect.height - shared
        if defect.label == box.label and union > 0 and shared / union >= MIN_OVERLAP:
            return True
    return False


def _report(deployment: Deployment, path: Path | None) -> Iterator[Finding]:
    """Hold a requalification's report to this installation, and to its own bounds."""
    if path is None:
        return
    title = "its requalification speaks for it"
    try:
        data = read_regular(path, MAX_REPORT_BYTES)
        report = msgspec.json.decode(data, type=_Report)
        whole = json.loads(data)
    except OSError as error:
        yield Finding(title, "failed", f"{path} can't be read: {error.strerror}")
        return
    except ValueError as error:
        hint = "procvision requalify NAME==NEW ARCHIVE --against NAME==OLD --json FILE"
        yield Finding(title, "failed", f"{path} is no report of a requalification: {error}", hint)
        return
    new, missed = report.new, [f"{bound.text}: {bound.value}" for bound in report.bounds if not bound.holds]
    said = f"{report.judgement.sentence} SHA-256 {hashlib.sha256(data).hexdigest()}"
    if report.format != REPORT_FORMAT:
        why = f"{path} has the format {report.format[:60]!r}, this reads {REPORT_FORMAT}"
        yield Finding(title, "failed", why)
    elif whole.get("digest") != seal_of(whole, "digest"):
        why = f"{path} was changed after it was made: its digest is not that of its content"
        yield Finding(title, "failed", why, "give it as procvision requalify --json has written it, or make it again")
    elif (new.kind, new.distribution) != ("deployment", deployment.name) or new.identity != deployment.facts.get("id"):
        why = f"{path} is about {new.text[:80]}, not about this installation of {deployment.name}=={deployment.version}"
        yield Finding(title, "failed", why, "requalify what is installed: --root DIR")
    elif not report.kept or missed:
        yield Finding(title, "failed", "\n".join([f"a bound is missed: {report.judgement.sentence}", *missed]))
    else:
        yield Finding(title, detail=said)
