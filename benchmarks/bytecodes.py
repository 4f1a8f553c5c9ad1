"""How much Python of ours a call runs: bytecodes by module, on either end. A figure that is the same in every run."""

from __future__ import annotations

import os
import sys
from unittest.mock import patch

from benchmarks import ours
from procvision_sdk.compiled import COMPILED_VARIABLE, OFF

CALLS = 50


def a_call() -> dict[str, dict[str, float]]:
    """Bytecodes of a call without a picture in the runner and in the host, by module; "others" are the library's.

    Where it is compiled there are next to none: what is counted is what runs without a C compiler.
    """
    with patch.dict(os.environ, {COMPILED_VARIABLE: OFF}), ours.runner() as running:
        # What counts in the host counts here.
        sys.path.append(str(ours.PLUGIN))
        from procvision_bench.bytecodes import Bytecodes

        session = running.session(ours.CONTEXT)

        def calls() -> None:
            for _ in range(CALLS):
                running.execute(pid="A", session=session)

        calls()
        counted = Bytecodes()
        counted.start()
        calls()
        in_runner = counted.stop()
        running.execute(pid="A", session=session, step_index=4, user_params={"on": True})
        calls()
        in_host = running.execute(pid="A", session=session, step_index=4, user_params={"on": False}).debug
    in_host.pop("latency_ms")
    return {"runner": _a_call(in_runner), "host": _a_call(in_host)}


def _a_call(counted: dict[str, int]) -> dict[str, float]:
    return {module: round(count / CALLS) for module, count in counted.items() if count >= CALLS}
