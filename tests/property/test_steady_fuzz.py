"""Inputs that are nearly right, for the compiled steady calls; `nox -s fuzz` gives them ten million, sanitized."""

from __future__ import annotations

import logging
import random

import pytest
from steady_fuzz import answers, calls, counts, latencies, mutated, values
from steady_rig import Host

from procvision_host.conversation.steady_calls import CORE as HOST_CORE
from procvision_host.halves import ring as rings
from procvision_host.halves.messages import Plan
from procvision_host.logs import HOST_LOGGER
from procvision_runner.connection.steady_calls import CORE as RUNNER_CORE
from procvision_sdk.compiled import compiled

runner_core, host_core = compiled(RUNNER_CORE), compiled(HOST_CORE)
pytestmark = pytest.mark.skipif(
    runner_core is None or host_core is None, reason="no core is built, or it is turned off"
)
INPUTS = 20_000


@pytest.mark.parametrize("target", ["values", "answers", "calls", "counts"])
def test_what_the_compiled_form_takes_it_takes_as_the_general_code(
    target: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it takes some: inputs that it leaves show nothing."""
    caplog.set_level(logging.CRITICAL, HOST_LOGGER)
    monkeypatch.setattr(rings, "PATIENCE_S", 0.0)
    host = Host("compiled", Plan(calls=True) if target == "counts" else None)
    of_what = host if target in {"calls", "counts"} else runner_core
    seeds, check = {"values": values, "answers": answers, "calls": calls, "counts": counts}[target](of_what)
    inputs = INPUTS // 10 if target == "counts" else INPUTS
    assert sum(map(check, mutated(seeds, inputs, seed=1))) > inputs / 1000
    host.ends.close()


def test_a_latency_is_written_as_the_encoder_writes_it() -> None:
    """Of any length."""
    check = latencies(host_core)
    for microseconds in (*range(2000), *(int(10 ** (random.Random(1).random() * 15)) for _ in range(1000))):
        check(microseconds)
