"""Calls that `mypy --strict` refuses, each line with the error that it gets. Nothing runs them."""

from __future__ import annotations

import numpy as np

from procvision_host.in_memory.runner import InMemoryRunner
from procvision_runner import AlgorithmRunner, Pool, Runner, Supervisor

PICTURE = np.zeros((4, 4, 3), np.uint8)


def every_class(runner: Runner, supervisor: Supervisor, pool: Pool, memory: InMemoryRunner) -> None:
    runner.execute(None, pid="A", stepindex="two", user_parms=3)  # error: call-arg
    supervisor.execute(None, pid="A", stepindex="two", user_parms=3)  # error: call-arg
    pool.execute(None, pid="A", stepindex="two", user_parms=3)  # error: call-arg
    memory.execute(None, pid="A", stepindex="two", user_parms=3)  # error: call-arg
    supervisor.reset()  # error: call-arg
    pool.reset()  # error: call-arg
    runner.recover()  # error: attr-defined
    supervisor.reset_session("s")  # error: attr-defined


def the_interface(runner: AlgorithmRunner) -> None:
    runner.execute(PICTURE)  # error: call-arg
    runner.execute(PICTURE, "A")  # error: call-arg
    runner.execute(PICTURE, pid=3)  # error: arg-type
    runner.execute("picture.png", pid="A")  # error: arg-type
    runner.execute(np.zeros((4, 4), np.float64), pid="A")  # error: arg-type
    runner.execute(PICTURE, pid="A", step_index="two")  # error: arg-type
    runner.execute(PICTURE, pid="A", user_params=[1])  # error: arg-type
    runner.execute(PICTURE, pid="A", session=7)  # error: arg-type
    runner.execute(PICTURE, pid="A", final="yes")  # error: arg-type
    runner.execute(PICTURE, pid="A", timeout_s="2 s")  # error: arg-type
    runner.pre_execute(PICTURE, pid="A", sesion="s")  # error: call-arg
    runner.submit("info", pid="A")  # error: arg-type
    runner.submit(PICTURE, pid="A")  # error: arg-type
    runner.lend(640, 480, "RGBA")  # error: arg-type
    runner.reset(None)  # error: arg-type
    runner.session(session_id=1)  # error: arg-type
