"""A hook plugin that observes every call, and is used only where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from procvision_sdk.hookspecs import HookOption, hookimpl


class Observer:
    """Counts calls and sums up their times, as a plugin for metrics does."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str], int] = {}
        self.elapsed_ms = 0.0

    @hookimpl
    def procvision_options(self) -> Sequence[HookOption]:
        """One that has no default: the other benchmarks' hosts find this plugin too."""
        return [HookOption("used", bool, help="whether it is")]

    @hookimpl
    def procvision_call_finished(self, call: Mapping[str, Any], answer: Mapping[str, Any], elapsed_ms: float) -> None:
        """One more."""
        key = (call["phase"], answer["status"])
        self.calls[key] = self.calls.get(key, 0) + 1
        self.elapsed_ms += elapsed_ms
