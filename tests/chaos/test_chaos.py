"""The chaos run in short: `nox -s chaos` is the long one."""

from __future__ import annotations

import os

import pytest

from tests.chaos.run import run

SECONDS = float(os.environ.get("PROCVISION_CHAOS_SECONDS", "5"))


@pytest.mark.parametrize("spare", [False, True], ids=["without a spare", "with a spare"])
def test_under_faults_and_load_every_call_ends_once_and_no_verdict_is_wrong(spare: bool) -> None:
    """Two hosts for a few seconds: SIGKILL, SIGSTOP, SIGSEGV and swaps, callers of three kinds."""
    report = run(SECONDS, seed=7, hosts=2, spare=spare)
    assert report.passed, report.as_dict()
    assert report.calls > 20
    assert sum(count for name, count in report.faults.items() if name != "swap") > 0
    assert report.restarts > 0
