"""The structured logger that an algorithm writes to: a line of text and named values.

It goes through the standard library's `logging`, so a host needs one way out for everything: the named values ride
on the record as `fields` and stand beside `message` in the host's JSON lines.
"""

from __future__ import annotations

import logging
from typing import Any


class StructuredLogger:
    """`logger.info("reference learnt", nets=112)`. Never raises for what it is given."""

    __slots__ = ("_logger",)

    def __init__(self, name: str = "procvision.algorithm") -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, **fields: Any) -> None:
        """Log what helps to look into the algorithm; it is off unless the host's level says otherwise."""
        self._log(logging.DEBUG, message, fields)

    def info(self, message: str, **fields: Any) -> None:
        """What happened as it should."""
        self._log(logging.INFO, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """What an operator should see although the call goes on."""
        self._log(logging.WARNING, message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """What went wrong."""
        self._log(logging.ERROR, message, fields)

    def exception(self, message: str, **fields: Any) -> None:
        """An error with the traceback of the exception being handled."""
        self._log(logging.ERROR, message, fields, exc_info=True)

    def _log(self, level: int, message: str, fields: dict[str, Any], *, exc_info: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            # The text is no format string: it is the vendor's and may hold a percent sign.
            self._logger.log(level, "%s", message, exc_info=exc_info, extra={"fields": fields}, stacklevel=3)
