"""Checks what a call gave once more, on this side of the pipe."""

from __future__ import annotations

from procvision_sdk.call_result import CallResult, checked

__all__ = ["CallResult", "checked"]
