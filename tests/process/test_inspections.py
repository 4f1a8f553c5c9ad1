"""What a supervisor tells of its inspections: call, result, and picture before the slot goes back; products; names."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import attrs
import numpy as np
import pytest
from peer_plugins import environment, install_algorithm
from supervising import PICTURE, QUICK, supervised, wait_until, with_runner

from procvision_runner import (
    CallFailedError,
    Inspected,
    Pool,
    RunnerOptions,
    SessionLostError,
    Supervisor,
    SupervisorOptions,
)

SLOW = with_runner(QUICK, execute_timeout_s=20.0, pre_timeout_s=20.0, max_slots=4)

JUDGING = """
import os
from procvision_sdk import BaseAlgorithm, Defect, Ng, Ok, Prepared, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        session.set("seen", True)
        return Prepared()

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        picture = read_image_from_shared_memory(shared_mem_id, image_meta)
        if picture[0, 0, 0] == 1:
            os._exit(3)
        if picture[0, 0, 0] == 2:
            raise ValueError("asked to raise")
        return Ng("dark", [Defect(0, 0, 1, 1, "spot", 0.5)]) if picture[0, 0, 0] > 99 else Ok()
"""
BAD, GOOD, RAISING = (np.full((4, 6, 3), value, np.uint8) for value in (200, 50, 2))


@pytest.fixture
def judging(tmp_path: Path) -> SupervisorOptions:
    """For hosts that find the algorithm `judging`."""
    folder = install_algorithm(tmp_path / "installed", "judging", JUDGING)
    return attrs.evolve(QUICK, runner=RunnerOptions(environment=environment(folder)))


def test_a_listener_gets_call_result_and_picture(judging: SupervisorOptions) -> None:
    """Of every inspection, in order; also of one that failed."""
    seen: list[tuple[str, str | None, str | None, int, str]] = []

    def listen(one: Inspected) -> None:
        assert one.array is not None
        failed = type(one.error).__name__ if one.error is not None else None
        seen.append((one.phase, one.verdict, failed, int(one.array[0, 0, 0]), one.source))
        assert not one.array.flags.writeable
        assert (one.pid, one.image_meta is not None and one.image_meta["width"]) == ("A", 6)

    with Supervisor("judging", options=judging, name="line-3", inspection_listeners=[listen]) as station:
        session = station.session()
        station.pre_execute(GOOD, pid="A", session=session)
        station.execute(BAD, pid="A", session=session, final=True)
        with pytest.raises(CallFailedError):
            station.execute(RAISING, pid="A")
        station.submit("execute", GOOD, pid="A").result()
        counters = station.snapshot().counters
        slots = station.slots
        assert wait_until(lambda: slots.leased == 0)
    assert seen == [
        ("pre", None, None, 50, "line-3"),
        ("execute", "NG", None, 200, "line-3"),
        ("execute", None, "CallFailedError", 2, "line-3"),
        ("execute", "OK", None, 50, "line-3"),
    ]
    names = ("products", "products_NG", "products_OK", "products_ERROR")
    assert [counters[name] for name in names] == [3, 1, 1, 1]
    assert (counters["calls_NONE"], counters["calls_OK"]) == (1, 1)


def test_a_listener_that_hangs_or_raises_costs_the_line_nothing() -> None:
    """Half of the slots wait for it at most; what is over that is told without a picture."""
    go_on = threading.Event()
    seen: list[bool] = []

    def listen(one: Inspected) -> None:
        go_on.wait(30)
        seen.append(one.array is not None)
        raise SystemExit(1)

    with supervised(options=SLOW, inspection_listeners=[listen]) as supervisor:
        for _ in range(10):
            supervisor.execute(PICTURE, pid="A")
        assert supervisor.inspections.dropped_pictures == 8
        go_on.set()
        assert wait_until(lambda: len(seen) == 10)
    assert seen == [True, True] + [False] * 8


def test_a_pool_tells_of_all_its_hosts(judging: SupervisorOptions) -> None:
    """Each under its supervisor's name, and the name reaches what the hosts write."""
    sources: set[str] = set()
    with Pool("judging", hosts=2, options=judging, inspection_listeners=[lambda one: sources.add(one.source)]) as pool:
        for future in [pool.submit("execute", GOOD, pid="A") for _ in range(8)]:
            future.result()
    assert sources == {"judging/1", "judging/2"}


def test_json_lines_have_the_supervisors_name(judging: SupervisorOptions, tmp_path: Path) -> None:
    """As the hook plugins get it."""
    runner = attrs.evolve(judging.runner, host_arguments=("--hook-option", f"json-lines.directory={tmp_path / 'log'}"))
    with Supervisor("judging", options=attrs.evolve(judging, runner=runner), name="line-3") as station:
        station.execute(GOOD, pid="A")
    lines = [json.loads(line) for line in (tmp_path / "log" / "judging.jsonl").read_text().splitlines()]
    assert {line["supervisor"] for line in lines} == {"line-3"}


@pytest.mark.parametrize("per_host", [True, False])
def test_what_pre_left_in_a_host_is_lost_with_it(tmp_path: Path, per_host: bool) -> None:
    """Where the manifest says so, also with a store that outlives the host; elsewhere the session goes on."""
    folder = install_algorithm(tmp_path / "installed", "judging", JUDGING, pre_per_host=per_host)
    options = attrs.evolve(
        QUICK,
        sessions_outlive_host=True,
        runner=RunnerOptions(
            environment=environment(folder), host_arguments=("--sessions", f"sqlite:{tmp_path / 's.db'}")
        ),
    )
    with Supervisor("judging", options=options) as station:
        session = station.session()
        station.pre_execute(GOOD, pid="A", session=session)
        first = station.process_id
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert wait_until(lambda: station.process_id not in {first, None} and str(station.state) == "ready", 30)
        if per_host:
            with pytest.raises(SessionLostError):
                station.execute(GOOD, pid="A", session=session)
            station.reset(session)
            station.pre_execute(GOOD, pid="A", session=session)
        assert station.execute(GOOD, pid="A", session=session, final=True).verdict == "OK"
