"""Puts another version in place of the running one, while the line runs.

The new version is started beside the old one. Only when it is ready, and has judged the golden pictures as it should,
do new sessions go to it; the old one sees its own sessions to their end. Whatever goes wrong before that leaves the
old one serving, and is raised as a SwapError.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

import attrs

from procvision_runner.connection.launch import host_command
from procvision_runner.errors import CallError, RunnerError, SwapError
from procvision_runner.requests import held_to_the_protocol, prepare
from procvision_runner.supervision import events
from procvision_sdk.calling import AlgorithmRunner, InspectingPhase, InspectionSession, new_session
from procvision_sdk.masking import masked_command

if TYPE_CHECKING:
    from procvision_runner.images.slots import SlotPool
    from procvision_runner.results import CallResult
    from procvision_runner.supervision.journal import Journal
    from procvision_runner.supervision.options import SupervisorOptions
    from procvision_runner.supervision.succession import Succession
    from procvision_runner.supervision.supervised_host import SupervisedHost
    from procvision_sdk.images.picture import Picture, Pixels


class Swappable(AlgorithmRunner, Protocol):
    """What a swap needs of the supervisor whose version it changes: calls in the running version, and its hosts."""

    options: SupervisorOptions
    journal: Journal
    succession: Succession

    @property
    def command(self) -> tuple[str, ...]:
        """The command line of its hosts."""

    @property
    def slots(self) -> SlotPool:
        """Where the pictures lie."""


@attrs.frozen(kw_only=True, eq=False)
class GoldenPicture:
    """A picture whose verdict is known, or is what the running version says (`expected` None)."""

    name: str
    image: Pixels | Picture
    pid: str
    expected: Literal["OK", "NG"] | None = None
    reference: Pixels | Picture | None = None
    """Given to `pre_execute` before."""
    step_index: int = 1
    user_params: Mapping[str, Any] | None = None
    context: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Comparison:
    """What a golden picture was expected to give, and gave."""

    name: str
    expected: str
    verdict: str
    elapsed_ms: float


@attrs.frozen(kw_only=True)
class SwapReport:
    """A swap that took place."""

    old: str
    new: str
    ready_s: float
    comparisons: tuple[Comparison, ...]
    drained_s: float
    sessions_cut: int
    """Sessions of the old version that had not ended when its time was over."""


def swap(
    supervisor: Swappable,
    algorithm: str | None = None,
    *,
    command: Sequence[str] | None = None,
    golden: Sequence[GoldenPicture] = (),
    wait: bool = True,
) -> SwapReport:
    """Let `supervisor` go on with another version. Raises SwapError: the old one serves on.

    Without `wait` the sessions of the old one are seen to their end by a thread of their own.
    """
    words = host_command(algorithm, command, supervisor.options.runner)
    new = algorithm or " ".join(words)
    began = time.monotonic()
    with supervisor.succession.swapping:
        try:
            host = supervisor.succession.launch_other(words)
        except RunnerError as error:
            raise _refused(supervisor, new, str(error), error.logs) from error
        ready_s = time.monotonic() - began
        try:
            comparisons = tuple(_compared(supervisor, host, picture) for picture in golden)
        except RunnerError as error:
            logs = tuple(host.client.log.records)
            supervisor.succession.discard(host)
            raise _refused(supervisor, new, str(error), logs) from error
        except BaseException:
            supervisor.succession.discard(host)
            raise
        old_words = " ".join(masked_command(supervisor.command))
        before = supervisor.succession.promote(host, words)
        old = (before.version or old_words) if before is not None else old_words
        supervisor.journal.count("swaps")
        supervisor.journal.emit(events.Swapped, host=host.number, old=old, new=host.version or new)
    switched = time.monotonic()
    cut = 0
    if before is not None and wait:
        cut = supervisor.succession.drain(before)
    elif before is not None:
        drain = partial(supervisor.succession.drain, before)
        threading.Thread(target=drain, name=f"drain of host {before.number}", daemon=True).start()
    return SwapReport(
        old=old,
        new=host.version or new,
        ready_s=round(ready_s, 3),
        comparisons=comparisons,
        drained_s=round(time.monotonic() - switched, 3),
        sessions_cut=cut,
    )


def _refused(supervisor: Swappable, new: str, reason: str, logs: Sequence[Mapping[str, Any]]) -> SwapError:
    supervisor.journal.count("failed_swaps")
    supervisor.journal.emit(events.SwapFailed, new=new, reason=reason)
    return SwapError(f"{new} was not switched to: {reason}", logs=logs)


def _compared(supervisor: Swappable, host: SupervisedHost, golden: GoldenPicture) -> Comparison:
    """Judge the golden pictures with the new version. Raises SwapError if it doesn't say what it should."""
    expected = golden.expected or _verdict(golden, _by_the_old(supervisor, golden), "the running version")
    try:
        result = _by(supervisor, host, golden)
    except CallError as error:
        raise SwapError(f"the golden picture {golden.name!r} has no result: {error}", logs=error.logs) from error
    verdict = _verdict(golden, result, "the new version")
    if verdict != expected:
        why = f" ({result.ng_reason})" if result.ng_reason else ""
        raise SwapError(f"the golden picture {golden.name!r} should be {expected}, the new version says {verdict}{why}")
    return Comparison(name=golden.name, expected=expected, verdict=verdict, elapsed_ms=result.elapsed_ms)


def _verdict(golden: GoldenPicture, result: CallResult, who: str) -> str:
    if result.verdict is None:
        raise SwapError(f"{who} has no verdict on the golden picture {golden.name!r}: {result.message}")
    return result.verdict


class _Given(TypedDict):
    pid: str
    step_index: int
    user_params: Mapping[str, Any] | None
    session: InspectionSession


def _by_the_old(supervisor: Swappable, golden: GoldenPicture) -> CallResult:
    session = new_session(golden.context)
    given = _Given(pid=golden.pid, step_index=golden.step_index, user_params=golden.user_params, session=session)
    try:
        if golden.reference is not None:
            supervisor.pre_execute(golden.reference, **given)
        return supervisor.execute(golden.image, final=True, **given)
    except CallError as error:
        raise SwapError(f"the running version has no result for {golden.name!r}: {error}", logs=error.logs) from error


def _by(supervisor: Swappable, host: SupervisedHost, golden: GoldenPicture) -> CallResult:
    session = new_session(golden.context)
    if golden.reference is not None:
        prepared = _call(supervisor, host, "pre", golden.reference, golden, session)
        if prepared.status != "OK":
            raise SwapError(f"the new version can't learn {golden.name!r}'s reference: {prepared.message}")
    return _call(supervisor, host, "execute", golden.image, golden, session)


def _call(
    supervisor: Swappable,
    host: SupervisedHost,
    phase: InspectingPhase,
    image: Pixels | Picture,
    golden: GoldenPicture,
    session: InspectionSession,
) -> CallResult:
    """Make a call in this host, which gets no other calls yet."""
    request = prepare(
        supervisor.slots,
        supervisor.options.runner,
        phase,
        image,
        golden.pid,
        step_index=golden.step_index,
        session=session,
        user_params=golden.user_params,
        final=phase == "execute",
        camera_id=None,
        timestamp_ms=None,
        timeout_s=None,
    )
    on_freed = request.lease.release if request.lease is not None else None
    try:
        host.place(request)
    except BaseException:
        if on_freed is not None:
            on_freed()
        raise
    answer, took_s = host.client.call(request.call, request.timeout_s, on_freed)
    return held_to_the_protocol(answer, phase, request.size, took_s)
