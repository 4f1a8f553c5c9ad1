"""What a worker of a requalification does: both versions say what they say of a shard's products.

A worker keeps a host of each. What fails is an ERROR, not tried until it goes well, with two exceptions: a picture that
ended a host is given to a new one once more, so that a finding is the picture's and no coincidence; and what hangs on
how busy the machine is, such as a time-out, is UNSTABLE, which is no verdict to compare. So is a picture that can't be
read, or that is another one by now.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from attrs import frozen

from procvision_runner import RunnerError
from procvision_sdk.errors import ErrorCode
from procvision_sdk.jsontext import json_text
from procvision_tools.cli.hosts import Hosting, Launched, kept_alive
from procvision_tools.cli.inspecting import InspectionOutcome, InspectionRequest, inspect
from procvision_tools.requalification.archive import UNREAD, Product, Rect, Said, Shot, Stored
from procvision_tools.requalification.results import Row
from procvision_tools.requalification.urls import load_from
from procvision_tools.sources.picture_files import PictureFileError, UnreadFileError

if TYPE_CHECKING:
    from procvision_tools.engines.protocol import Stop, Worked
    from procvision_tools.requalification.subjects import Subject
    from procvision_tools.sources.picture_files import PictureFile

_OF_LOAD = ("timeout", "unresponsive", "not reading", "out of memory", "SlotsExhaustedError", "host died",
            "session lost", "broken", "RunnerStoppedError")  # fmt: skip
"""Failures that say nothing of the picture, as `InspectionOutcome.failure` begins: they come with a busy machine."""
_ANSWERED_OF_LOAD = frozenset({ErrorCode.TIMEOUT, ErrorCode.CANCELLED})
_ENDED = ("crashed", "exited", "suspect picture", "protocol violation")
"""Failures that ended a host."""


@frozen(kw_only=True)
class Comparing:
    """The work: pickled to the workers. Of ``old`` None, the archive has recorded what it said."""

    new: Subject
    old: Subject | None
    params: tuple[str, ...] = ()
    """``key=value``, in place of what the archive recorded."""
    pid: str | None = None
    reference: Stored | None = None
    """For products that have none of their own."""
    bits: int | None = None
    timeout_s: float | None = None

    @contextmanager
    def open(self) -> Iterator[Worked]:
        """Launch a host of each version. Raises RunnerError."""
        with ExitStack() as stack:
            new = stack.enter_context(kept_alive(self._hosting(self.new)))
            old = None if self.old is None else stack.enter_context(kept_alive(self._hosting(self.old)))
            yield lambda products, stop: self._compared(new, old, products, stop)

    def _compared(self, new: Launched, old: Launched | None, products: Sequence[Product], stop: Stop) -> list[Row]:
        rows = []
        for product in products:
            if stop():
                break
            files = _Files()
            said_old = None if old is None or self.old is None else self._said(old, self.old, product, files)
            rows.append(Row(product.name, self._said(new, self.new, product, files), said_old))
        return rows

    def _hosting(self, subject: Subject) -> Hosting:
        return Hosting(
            algorithm=subject.algorithm or subject.text,
            command=subject.command,
            timeout_s=self.timeout_s,
            log_level="warning",
            one_thread=True,
        )

    def _said(self, ready: Launched, subject: Subject, product: Product, files: _Files) -> Said:
        first = self._inspected(ready, subject, product, files)
        if not first.failure.startswith(_ENDED):
            return first
        again = self._inspected(ready, subject, product, files)
        if again.failure.startswith(_ENDED):
            return msgspec.structs.replace(again, killed=True)
        return Said("UNSTABLE", failure=f"{first.failure} once, then {again.verdict}", message=first.message)

    def _inspected(self, ready: Launched, subject: Subject, product: Product, files: _Files) -> Said:
        """Inspect one product, with all its shots in one session."""
        outcomes: list[InspectionOutcome] = []
        try:
            session = ready.runner.session(context={"title": product.name})
            for shot in product.shots:
                request = self._request(subject, product, shot, files)
                outcomes.append(inspect(ready, request, session, final=shot is product.shots[-1]))
                if outcomes[-1].inspection.verdict == "ERROR":
                    break
        except UnreadFileError as error:
            return Said("UNSTABLE", failure=UNREAD, message=str(error))
        except PictureFileError as error:
            return Said("ERROR", failure="unreadable picture", message=str(error))
        except RunnerError as error:
            return Said("UNSTABLE", failure=type(error).__name__, message=str(error))
        return _said_of(outcomes)

    def _request(self, subject: Subject, product: Product, shot: Shot, files: _Files) -> InspectionRequest:
        reference = shot.reference or self.reference
        image = files.read(shot.picture)
        learnt = None if reference is None else files.read(reference)
        given = {pair.partition("=")[0] for pair in self.params}
        recorded = tuple(f"{key}={_as_text(value)}" for key, value in shot.user_params.items() if key not in given)
        return InspectionRequest(
            hosting=self._hosting(subject),
            image=image.path,
            reference=None if learnt is None else learnt.path,
            pid=self.pid or product.pid,
            step_index=shot.step,
            params=(*recorded, *self.params),
            bits=self.bits,
            repeatable=False,
            read={file.path: file for file in (image, learnt) if file is not None},
        )


class _Files:
    """The pictures of one product, read once for both versions."""

    def __init__(self) -> None:
        self._read: dict[Stored, PictureFile] = {}

    def read(self, stored: Stored) -> PictureFile:
        """Read a picture. Raises PictureFileError, and UnreadFileError for one that is gone or was changed."""
        file = self._read.get(stored)
        if file is None:
            self._read[stored] = file = load_from(stored.place, stored.stamp)
        return file


def _as_text(value: Any) -> str:
    """Return a recorded parameter as `--param` takes it."""
    return value if isinstance(value, str) else json_text(value)


def _said_of(outcomes: Sequence[InspectionOutcome]) -> Said:
    last = outcomes[-1]
    inspections = [outcome.inspection for outcome in outcomes]
    took = sum(ms for each in inspections for name, ms in each.times_ms.items() if name.startswith("execute"))
    if last.inspection.verdict == "ERROR":
        answered = last.failure.startswith("answered ERROR") and last.inspection.error_code in _ANSWERED_OF_LOAD
        unstable = last.failure.startswith(_OF_LOAD) or answered
        return Said("UNSTABLE" if unstable else "ERROR", failure=last.failure, message=last.inspection.message)
    values = {
        measured.name: float(measured.value)
        for each in inspections
        for measured in each.measurements
        if isinstance(measured.value, (int, float)) and not isinstance(measured.value, bool)
        and math.isfinite(measured.value)
    }  # fmt: skip
    return Said(
        "NG" if any(each.verdict == "NG" for each in inspections) else "OK",
        message=next((each.reason for each in inspections if each.verdict == "NG"), ""),
        defect_rects=tuple(
            Rect(d.x, d.y, d.width, d.height, d.label, d.score) for each in inspections for d in each.defects
        ),
        values=values,
        took_ms=took,
    )
