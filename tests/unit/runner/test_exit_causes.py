"""From what was seen of an end to its cause."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from procvision_runner.exit_causes import UNKNOWN_STATUS, EndKind, end_of


def said(message: str, level: str = "error") -> list[dict[str, Any]]:
    return [{"level": level, "message": message, "logger": "vendor"}]


@pytest.mark.parametrize(
    ("exit_status", "logs", "oom_kills", "kind", "text"),
    [
        (-signal.SIGSEGV, [], 0, EndKind.CRASHED, "SIGSEGV"),
        (-signal.SIGKILL, [], 0, EndKind.CRASHED, "SIGKILL"),
        (-signal.SIGKILL, [], 1, EndKind.OUT_OF_MEMORY, "the kernel ran out of memory"),
        (-signal.SIGXCPU, [], 0, EndKind.CRASHED, "CPU time"),
        (-64, [], 0, EndKind.CRASHED, "SIGRTMAX"),
        (0, [], 0, EndKind.EXITED, "status 0"),
        (70, said("the model is gone"), 0, EndKind.EXITED, "status 70"),
        (1, said("Traceback …\nMemoryError"), 0, EndKind.OUT_OF_MEMORY, "MemoryError"),
        (-signal.SIGABRT, said("terminate called … std::bad_alloc"), 0, EndKind.OUT_OF_MEMORY, "bad_alloc"),
        (0, said("MemoryError"), 0, EndKind.EXITED, "status 0"),
        (1, said("MemoryError was caught, trying a smaller batch", "info"), 0, EndKind.EXITED, "status 1"),
        (None, [], 0, EndKind.EXITED, "still runs"),
        (139, [], 0, EndKind.CRASHED, "status 139, which stands for SIGSEGV"),
        (134, said("std::bad_alloc"), 0, EndKind.OUT_OF_MEMORY, "bad_alloc"),
        (137, [], 1, EndKind.OUT_OF_MEMORY, "the kernel ran out of memory"),
        (137, [], 0, EndKind.CRASHED, "SIGKILL"),
        (152, [], 0, EndKind.CRASHED, "CPU time"),
        (130, [], 0, EndKind.EXITED, "status 130"),
        (143, [], 0, EndKind.EXITED, "status 143"),
        (255, [], 0, EndKind.EXITED, "status 255"),
        (128, [], 0, EndKind.EXITED, "status 128"),
        (UNKNOWN_STATUS, [], 1, EndKind.EXITED, "how is lost"),
    ],
)
def test_cause(exit_status: int | None, logs: list[Any], oom_kills: int, kind: EndKind, text: str) -> None:
    end = end_of(exit_status, logs, oom_kills)
    assert end.kind is kind
    assert text in end.text


def test_signal_is_named() -> None:
    assert end_of(-signal.SIGSEGV, []).signal == "SIGSEGV"
    assert end_of(139, []).signal == "SIGSEGV"
    assert end_of(70, []).signal is None
