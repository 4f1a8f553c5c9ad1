"""What both generations have in common: a field algorithm inside an algorithm of the host's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from procvision_compat.answers import answer
from procvision_sdk import BaseAlgorithm
from procvision_sdk.plain import PlainValueError


class Wrapped(BaseAlgorithm):
    """Holds the field algorithm, and passes on what it publishes. Its exceptions go through to the host."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self._inner = inner

    def setup(self) -> None:
        """The field algorithm's, if it has one. What it raises is a failed start here."""
        self._call_if_there("setup")

    def teardown(self) -> None:
        """The field algorithm's, if it has one."""
        self._call_if_there("teardown")

    def get_info(self) -> dict[str, Any]:
        """The field algorithm's, if it has one."""
        told = self._call_if_there("get_info")
        return {} if told is None else told

    def _call_if_there(self, name: str, *arguments: Any) -> Any:
        method = getattr(self._inner, name, None)
        return method(*arguments) if method is not None else None

    def _answer(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """What the field algorithm answers; what it published during the call goes into the answer's debug."""
        returned = method(*arguments)
        take = getattr(getattr(self._inner, "diagnostics", None), "take_published", None)
        for name, value in (take() if take is not None else {}).items():
            try:
                self.diagnostics.publish(name, value)
            except PlainValueError as error:
                # The field's SDK took any value and told nobody.
                self.logger.warning("a published value was left out", reason=str(error))
        return answer(returned)
