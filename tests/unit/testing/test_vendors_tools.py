"""What a vendor's algorithm is given beside its call: diagnostics, logger, cancellation, errors, defaults."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from procvision_sdk import (
    AlgorithmError,
    BaseAlgorithm,
    Diagnostics,
    FatalError,
    GPUOutOfMemoryError,
    Ok,
    Prepared,
    ProcVisionError,
    ProgramError,
    RecoverableError,
    Session,
    StructuredLogger,
)


class Smallest(BaseAlgorithm):
    """What has to be written at the least."""

    def execute(self, step_index: int, pid: str, session: Session, *_: Any) -> Ok:
        return Ok()


def test_everything_but_execute_may_be_left_out() -> None:
    """Defaults that do nothing, and say so."""
    algorithm = Smallest()
    session = Session("s")
    algorithm.setup()
    algorithm.on_step_start(1, session, {})
    assert algorithm.pre_execute(1, "A", session, {}, "", {}) == Prepared()
    algorithm.on_step_finish(1, session, {})
    algorithm.reset(session)
    assert algorithm.get_info() == {}
    algorithm.teardown()
    assert algorithm.cancellation.requested is False


def test_algorithm_without_execute_can_not_be_made() -> None:
    """The one thing that nobody can do for it."""
    with pytest.raises(TypeError, match="execute"):
        BaseAlgorithm()  # type: ignore[abstract]


def test_diagnostics_are_taken_once() -> None:
    """They belong to one call."""
    diagnostics = Diagnostics()
    diagnostics.publish("blobs", 7)
    diagnostics.publish("blobs", 8)
    assert diagnostics.take() == {"blobs": 8}
    assert diagnostics.take() == {}


@pytest.mark.parametrize(("name", "value"), [("", 1), (None, 1), ("x", b"x"), ("x", float("nan")), ("x", object())])
def test_diagnostic_that_json_cannot_carry_is_refused(name: Any, value: Any) -> None:
    """And nothing is stored."""
    diagnostics = Diagnostics()
    with pytest.raises(ValueError):
        diagnostics.publish(name, value)
    assert diagnostics.take() == {}


def test_logger_carries_named_values(caplog: pytest.LogCaptureFixture) -> None:
    """Beside a text that is no format string."""
    logger = StructuredLogger("procvision.algorithm.test")
    with caplog.at_level(logging.DEBUG, "procvision.algorithm.test"):
        logger.debug("100 % of %s", lamp=3)
        logger.info("info")
        logger.warning("warning")
        logger.error("error", message_of_mine="x", name="y")
        try:
            raise ValueError("cause")
        except ValueError:
            logger.exception("exception")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "100 % of %s"),
        ("INFO", "info"),
        ("WARNING", "warning"),
        ("ERROR", "error"),
        ("ERROR", "exception"),
    ]
    assert caplog.records[0].__dict__["fields"] == {"lamp": 3}
    assert caplog.records[0].funcName == "test_logger_carries_named_values"
    assert caplog.records[-1].exc_info is not None


@pytest.mark.parametrize(
    ("kind", "code", "retryable"),
    [
        (RecoverableError, "9999", True),
        (GPUOutOfMemoryError, "1004", True),
        (FatalError, "9999", False),
        (ProgramError, "9999", False),
    ],
)
def test_errors_have_the_protocols_codes(kind: type[AlgorithmError], code: str, retryable: bool) -> None:
    """Unless the vendor says another."""
    error = kind("text", detail={"lamp": 3})
    assert isinstance(error, ProcVisionError)
    assert (str(error), error.error_code, error.retryable, error.detail) == ("text", code, retryable, {"lamp": 3})
    assert kind("text", error_code="V-17").error_code == "V-17"
    assert kind("text").error_code == code
