"""Supervisors and pools with a spare host, and what tests do to it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

import attrs
from supervising import PICTURE, QUICK, marked, nothing_left, peer, wait_until, with_runner

from procvision_runner.supervision.options import SupervisorOptions
from procvision_runner.supervision.pool import Pool
from procvision_runner.supervision.restart import RestartPolicy
from procvision_runner.supervision.retry import RetryPolicy
from procvision_runner.supervision.spare import SpareState
from procvision_runner.supervision.supervisor import Supervisor

WARM = attrs.evolve(
    with_runner(QUICK, execute_timeout_s=20.0, pre_timeout_s=20.0, ready_timeout_s=20.0),
    spare=True,
    retry=RetryPolicy(retries=2),
    drain_timeout_s=20.0,
)
NO_RESTART_IN_TIME = attrs.evolve(WARM, restart=RestartPolicy(first_delay_s=60.0, max_delay_s=60.0))
"""The host that answers after a crash is the spare: a host that is launched for it would come in a minute."""


def spare_of(station: Supervisor | Pool) -> int:
    """The process that stands by, when there is one."""
    spare = station.spare
    assert spare is not None
    assert wait_until(lambda: spare.state is SpareState.READY, 30.0), spare.state
    assert spare.process_id is not None
    return spare.process_id


def kill(process_id: int | None) -> None:
    assert process_id is not None
    os.kill(process_id, signal.SIGKILL)


def answered_by(station: Supervisor | Pool, **more: Any) -> int:
    return int(station.execute(PICTURE, pid="A", **more).debug["process_id"])


@contextlib.contextmanager
def pooled(*arguments: str, options: SupervisorOptions = WARM, **more: Any) -> Iterator[Pool]:
    with (
        nothing_left() as mark,
        Pool(command=peer(*arguments), hosts=2, options=marked(options, mark), **more) as pool,
    ):
        yield pool
