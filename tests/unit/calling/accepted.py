"""Calls that `mypy --strict` accepts. `test_calling.py` has them checked; nothing runs them."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import numpy as np

from procvision_host.in_memory.runner import InMemoryRunner
from procvision_runner import AlgorithmRunner, CallResult, InspectionSession, Lease, Picture, Pool, Runner, Supervisor
from procvision_sdk import BaseAlgorithm


def every_runner(algorithm: type[BaseAlgorithm]) -> list[AlgorithmRunner]:
    return [
        Runner("a"),
        Supervisor("a"),
        Pool("a", hosts=2),
        InMemoryRunner(algorithm, manifest=Path("manifest.json")),
    ]


def calls(runner: AlgorithmRunner) -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    deep = np.zeros((4, 4), np.uint16)
    session: InspectionSession = runner.session({"product_code": "x"}, session_id="s-1")
    result: CallResult = runner.execute(picture, pid="A")
    runner.pre_execute(Picture.of(deep, bits=12), pid="A", session=session, step_index=2)
    runner.execute(
        picture,
        pid="A",
        step_index=1,
        session=session,
        user_params={"level": 3, "name": "x", "areas": [1, 2]},
        final=True,
        camera_id="left",
        timestamp_ms=1,
        timeout_s=0.5,
    )
    runner.execute(pid="A", session="s-1")
    with runner.lend(640, 480, "MONO") as lent:
        lent.array[...] = 0
        runner.execute(lent, pid="A")
    future: Future[CallResult] = runner.submit("pre", picture, pid="A", final=False)
    print(future.result().verdict, result.verdict, runner.info()["manifest"])
    runner.reset(session)
    runner.reset("s-1")


def with_a_process(runner: Runner, supervisor: Supervisor, pool: Pool) -> None:
    for one in (runner, supervisor, pool):
        lease: Lease = one.lend(4, 4)
        one.submit("execute", lease, pid="A", user_params=None)
    supervisor.recover()
    pool.recover()
