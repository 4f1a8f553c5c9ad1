"""Any exception becomes an `error` that can be written."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from procvision_host.algorithm.exceptions import MAX_DETAIL_BYTES, MAX_TEXT_CHARACTERS, error_of, place_of
from procvision_sdk.diagnostics import Diagnostics
from procvision_sdk.errors import FatalError, GPUOutOfMemoryError, ProgramError, RecoverableError


class OwnRecoverableError(RecoverableError):
    """A vendor's subclass."""


@pytest.mark.parametrize(
    ("error", "kind", "code", "retryable"),
    [
        (RecoverableError("x"), "recoverable", "9999", True),
        (OwnRecoverableError("x"), "recoverable", "9999", True),
        (GPUOutOfMemoryError("x"), "gpu_out_of_memory", "1004", True),
        (FatalError("x"), "fatal", "9999", False),
        (ProgramError("x", error_code="1003"), "program", "1003", False),
        (ProgramError("x", error_code="V-17"), "program", "V-17", False),
        (ValueError("x"), "program", "9999", False),
        (SystemExit(0), "program", "9999", False),
        (KeyboardInterrupt(), "program", "9999", False),
    ],
    ids=repr,
)
def test_kind_code_and_retry_follow_from_the_type(error: BaseException, kind: str, code: str, retryable: bool) -> None:
    """As the protocol has them."""
    told = error_of("r", error)
    assert told.data is not None
    assert (told.request_id, told.data.kind, told.error_code, told.data.retryable) == ("r", kind, code, retryable)


def test_place_is_the_innermost() -> None:
    """Where a vendor's developer looks first."""

    def inner() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x") as caught:
        inner()
    told = error_of(None, caught.value)
    assert told.message == "ValueError: x"
    assert told.data is not None
    assert told.data.detail["where"].endswith("in inner")
    assert told.data.detail["exception"] == "ValueError"


def test_a_mistake_in_a_call_of_ours_is_the_callers_line() -> None:
    """Nobody mends our file."""

    def vendors() -> None:
        Diagnostics().publish("histogram", object())

    with pytest.raises(ValueError, match="histogram") as caught:
        vendors()
    assert place_of(caught.value).endswith("in vendors")


def test_what_cannot_be_compiled_is_told_with_its_own_line() -> None:
    """Not with the importing line of Python's own import."""
    with pytest.raises(SyntaxError) as caught:
        compile("import cv2\nimprt numpy\n", "vendors.py", "exec")
    assert place_of(caught.value) == "vendors.py:2"


def with_code(code: Any) -> RecoverableError:
    """An exception whose code was set to anything."""
    error = RecoverableError("x")
    error.error_code = code
    return error


@pytest.mark.parametrize("code", [None, pytest.param(object(), id="object"), b"1003", "", "x" * 65, [], 1.5], ids=repr)
def test_code_that_is_none_becomes_unknown(code: Any) -> None:
    """A runner compares strings."""
    assert error_of(None, with_code(code)).error_code == "9999"


@pytest.mark.parametrize(
    "detail",
    [pytest.param(object(), id="object"), b"x", float("nan"), {1: 2}, "\ud800", 10**400, [[[[]]]] * 3],
    ids=repr,
)
def test_any_detail_can_be_written(detail: Any) -> None:
    """As it is where JSON carries it, as text where not."""
    told = error_of(None, RecoverableError("x", detail=detail))
    assert msgspec.json.decode(msgspec.json.encode(told))["data"]["detail"]["detail"]


def test_what_is_too_long_is_cut() -> None:
    """Text and detail."""
    told = error_of(None, RecoverableError("x" * 10_000_000, detail="y" * 10_000_000))
    assert len(told.message) == MAX_TEXT_CHARACTERS
    assert len(msgspec.json.encode(told)) < MAX_TEXT_CHARACTERS + MAX_DETAIL_BYTES
