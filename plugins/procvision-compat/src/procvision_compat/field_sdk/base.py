"""`BaseAlgorithm` of both generations: what 0.3.x has no use for stays empty."""

from __future__ import annotations

from typing import Any

from procvision_compat.field_sdk.diagnostics import Diagnostics
from procvision_compat.field_sdk.logger import StructuredLogger
from procvision_compat.field_sdk.session import Session


class BaseAlgorithm:
    """What a field algorithm derives from. Which methods it must have is checked when it is wrapped."""

    def __init__(self) -> None:
        self.logger = StructuredLogger()
        self.diagnostics = Diagnostics()
        self._resources_loaded = False
        self._model_version: str | None = None
        self._supported_pids: list[str] = []

    def setup(self) -> None:
        """Nothing."""

    def teardown(self) -> None:
        """Nothing."""

    def on_step_start(self, step_index: int, session: Session, context: dict[str, Any]) -> None:
        """Nothing."""

    def on_step_finish(self, step_index: int, session: Session, result: dict[str, Any]) -> None:
        """Nothing."""

    def reset(self, session: Session) -> None:
        """Nothing."""
