"""`code-reader`, as the host sees it: `pre` checks the settings, `execute` reads and verifies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any

import cv2
import numpy as np

from procvision_codes import seen, symbologies
from procvision_codes.elements import Element, readable
from procvision_codes.errors import SettingsError
from procvision_codes.geometry import Box
from procvision_codes.picture import gray_region, region_of
from procvision_codes.reading import Code, Found, Unreadable, read_codes
from procvision_codes.settings import Settings, settings_of
from procvision_codes.verification import Problem, Verified, name, verify
from procvision_sdk import (
    BaseAlgorithm,
    Defect,
    ErrorCode,
    Failed,
    Ng,
    Ok,
    Prepared,
    Rect,
    Session,
    read_image_from_shared_memory,
)

MAX_DEFECTS = 20
"""The protocol's bound on defect_rects."""
MAX_REASONS = 5
"""As many as a person reads; `debug.problems` counts all."""
MAX_PUBLISHED_CHARACTERS = 4000
"""More than the largest Data Matrix or QR code holds in text that people read."""


class CodeReader(BaseAlgorithm):
    """Reads bar codes and matrix codes and verifies their contents."""

    def setup(self) -> None:
        """Has both libraries do their one-time work before the first call."""
        cv2.resize(np.zeros((2, 2), np.uint8), (1, 1), interpolation=cv2.INTER_AREA)
        read_codes(np.zeros((64, 64), np.uint8), symbologies.NAMES)

    def reset(self, session: Session) -> None:
        """Forgets what the session's steps read."""
        seen.forget(session)

    def get_info(self) -> dict[str, Any]:
        """The manifest's facts and the symbologies."""
        manifest: dict[str, Any] = json.loads(files("procvision_codes").joinpath("manifest.json").read_bytes())
        return {**manifest, "symbologies": list(symbologies.NAMES)}

    def pre_execute(
        self,
        step_index: int,  # noqa: ARG002 - all steps are alike
        pid: str,  # noqa: ARG002
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,  # noqa: ARG002 - no picture is needed
        image_meta: Mapping[str, Any],  # noqa: ARG002
    ) -> Prepared | Failed:
        """Check the settings, so that contradictions show before the product is there. Returns Failed 1006."""
        try:
            settings = settings_of(user_params, session.context)
        except SettingsError as error:
            return Failed(ErrorCode.INVALID_PARAMS, str(error))
        return Prepared(message=f"reads {', '.join(settings.symbologies)}")

    def execute(
        self,
        step_index: int,
        pid: str,  # noqa: ARG002 - every product is read alike
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> Ok | Ng | Failed:
        """Read the codes in the picture and hold them against the settings.

        Returns Failed 1006 for settings that contradict one another or a context that lacks the key, 1008 if the
        call was cancelled.
        """
        try:
            settings = settings_of(user_params, session.context)
        except SettingsError as error:
            return Failed(ErrorCode.INVALID_PARAMS, str(error))
        picture = read_image_from_shared_memory(shared_mem_id, image_meta)
        searched = region_of(settings.region, (picture.shape[1], picture.shape[0]))
        found = read_codes(
            gray_region(picture, searched),
            settings.symbologies,
            effort=settings.effort,
            at_least=settings.at_least,
            at_most=settings.at_most,
            time_limit_s=settings.time_limit_s,
            stop=lambda: self.cancellation.requested,
        )
        if self.cancellation.requested:
            return Failed(ErrorCode.CANCELLED, f"cancelled after {len(found.attempts)} attempts at reading")
        found = _in_picture(found, searched)
        verified = verify(found, settings, searched, seen.read_in_other_steps(session, step_index))
        seen.remember(session, step_index, [code for code in found.codes if code.doubt is None])
        self._publish(found, verified)
        return _verdict(found, verified, settings)

    def _publish(self, found: Found, verified: Verified) -> None:
        self.diagnostics.publish(
            "codes", [_told(code, parsed) for code, parsed in zip(found.codes, verified.elements, strict=True)]
        )
        self.diagnostics.publish("attempts", found.attempts)
        if found.cut_short is not None:
            self.diagnostics.publish("cut_short", found.cut_short)
        if found.unreadable:
            self.diagnostics.publish(
                "unreadable", [{"what": u.what, "why": u.why, "box": list(u.box)} for u in found.unreadable]
            )
        if verified.problems:
            self.diagnostics.publish("problems", len(verified.problems))


def _in_picture(found: Found, region: Box) -> Found:
    x, y = region[:2]
    return Found(
        codes=[
            replace(
                code, corners=code.corners + np.array([x, y]), box=(code.box[0] + x, code.box[1] + y, *code.box[2:])
            )
            for code in found.codes
        ],
        unreadable=[Unreadable(u.what, u.why, (u.box[0] + x, u.box[1] + y, *u.box[2:])) for u in found.unreadable],
        attempts=found.attempts,
        cut_short=found.cut_short,
    )


def _told(code: Code, parsed: tuple[Element, ...]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "symbology": code.symbology,
        "content": readable(code.text[:MAX_PUBLISHED_CHARACTERS]),
        "gs1": code.gs1,
        "contrast": round(code.contrast, 3),
        "corners": [[round(float(x), 1), round(float(y), 1)] for x, y in code.corners],
        "read_from": code.attempt,
        **({"doubt": code.doubt} if code.doubt is not None else {}),
        **code.facts,
    }
    if parsed:
        told["elements"] = [{"identifier": e.identifier, "value": e.value, "title": e.title} for e in parsed]
    return told


def _verdict(found: Found, verified: Verified, settings: Settings) -> Ok | Ng:
    positions = [Rect(*code.box, label=code.symbology) for code in found.codes]
    problems = verified.problems
    # The last line of defence: without a code there is nothing that an OK could be about.
    if not problems and len(found.codes) >= max(1, settings.at_least):
        return Ok(message="; ".join(map(name, found.codes[:MAX_REASONS])), position_rects=positions)
    rects = list(dict.fromkeys((problem.label, box) for problem in problems for box in problem.boxes))
    defects = [Defect(*box, label=label, score=1.0) for label, box in rects[:MAX_DEFECTS]]
    return Ng(_reason(problems), defects, position_rects=positions)


def _reason(problems: tuple[Problem, ...]) -> str:
    reasons = list(dict.fromkeys(problem.reason for problem in problems))
    more = f"; and {len(reasons) - MAX_REASONS} more" if len(reasons) > MAX_REASONS else ""
    return "; ".join(reasons[:MAX_REASONS]) + more
