"""Algorithms of SDK 0.3.x: `execute` takes a step's description, the current picture and a guide picture.

A call of our protocol carries one picture. So `pre` brings the guide picture of a step, `execute` the current one; a
step without a guide of its own uses the one that the session was given last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from procvision_compat.guides import Guides
from procvision_compat.pictures import picture
from procvision_compat.steps import GUIDE_INFO, STEP_DESC
from procvision_compat.wrapped import Wrapped
from procvision_sdk import ErrorCode, Failed, Prepared, Session

_TOKENS = "guide_pictures"
"""In the session's state: step -> token of its guide, the last that was given at the end."""


class GuidedAlgorithm(Wrapped):
    """Keeps guide pictures and calls the field algorithm with both."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._guides = Guides()

    def teardown(self) -> None:
        """Forgets the guides, too."""
        self._guides.clear()
        super().teardown()

    def reset(self, session: Session) -> None:
        """Forgets the session's guides."""
        for token in session.get(_TOKENS, {}).values():
            self._guides.drop(token)

    def pre_execute(
        self,
        step_index: int,
        pid: str,  # noqa: ARG002 - the field algorithm isn't told
        session: Session,
        user_params: Mapping[str, Any],  # noqa: ARG002
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> Prepared:
        """Keep the picture as the step's guide."""
        tokens: dict[str, str] = session.get(_TOKENS, {})
        self._guides.drop(tokens.pop(str(step_index), None))
        # Behind the others: the last is what a step without a guide of its own uses.
        session.set(_TOKENS, {**tokens, str(step_index): self._guides.keep(picture(shared_mem_id, image_meta))})
        return Prepared(message=f"guide picture of step {step_index} kept")

    def execute(
        self,
        step_index: int,
        pid: str,  # noqa: ARG002 - the field algorithm isn't told
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> Any:
        """The field algorithm's. Returns Failed 1003 without a guide picture, 1006 for guide_info that is no list."""
        tokens: dict[str, str] = session.get(_TOKENS, {})
        token = tokens.get(str(step_index)) or next(reversed(tokens.values()), None)
        guide = self._guides.get(token) if token is not None else None
        if guide is None:
            why = "has no guide picture" if token is None else "had a guide picture that is no longer kept"
            return Failed(
                ErrorCode.ASSET_NOT_FOUND,
                f"session {session.id!r} {why}; hint: send the guide picture with phase pre first",
            )
        try:
            guide_info = json.loads(user_params[GUIDE_INFO])
        except ValueError as error:
            return Failed(ErrorCode.INVALID_PARAMS, f"{GUIDE_INFO} is not JSON: {error}")
        if not isinstance(guide_info, list):
            return Failed(ErrorCode.INVALID_PARAMS, f"{GUIDE_INFO} holds {type(guide_info).__name__}: it is a list")
        current = picture(shared_mem_id, image_meta)
        return self._answer(self._inner.execute, step_index, user_params[STEP_DESC], current, guide, guide_info)
