"""Several hosts of one algorithm: calls spread and move on, sessions stay, a swap goes all the way or not at all."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest
from counting import counting
from supervising import PICTURE, QUICK, echo, marked, nothing_left, peer, wait_until, with_runner

from procvision_runner.errors import LaunchError, RunnerStoppedError, SessionLostError, SwapError
from procvision_runner.supervision.options import SupervisorOptions
from procvision_runner.supervision.pool import Pool
from procvision_runner.supervision.retry import RetryPolicy
from procvision_runner.supervision.state import SupervisorState

PATIENT = with_runner(QUICK, execute_timeout_s=20.0, pre_timeout_s=20.0)
RETRYING = attrs.evolve(PATIENT, retry=RetryPolicy(retries=2))


@contextlib.contextmanager
def pooled(*arguments: str, hosts: int = 2, options: SupervisorOptions = PATIENT, **more: Any) -> Iterator[Pool]:
    with (
        nothing_left() as mark,
        Pool(command=peer(*arguments), hosts=hosts, options=marked(options, mark), **more) as pool,
    ):
        yield pool


def processes(pool: Pool) -> list[int | None]:
    return [supervisor.process_id for supervisor in pool.supervisors]


def test_calls_are_spread_over_all_hosts() -> None:
    with pooled(hosts=3) as pool, ThreadPoolExecutor(6) as threads:

        def call(number: int) -> int:
            result = pool.execute(PICTURE, pid="A", user_params={"number": number, "takes": 0.02})
            assert result.debug["echo"]["number"] == number
            return int(result.debug["process_id"])

        counts = Counter(threads.map(call, range(60)))
        assert set(counts) == set(processes(pool))
        assert min(counts.values()) >= 10


def test_calls_one_after_the_other_take_turns_also_where_somebody_listens() -> None:
    heard: list[Any] = []
    with pooled(inspection_listeners=[heard.append]) as pool:
        asked = [pool.execute(PICTURE, pid="A").debug["process_id"] for _ in range(6)]
        assert Counter(asked) == dict.fromkeys(processes(pool), 3)


def test_session_stays_with_its_host_while_others_are_idle() -> None:
    with pooled(hosts=3) as pool:
        for _ in range(6):
            session = pool.session()
            answers = [pool.pre_execute(PICTURE, pid="A", session=session)]
            answers += [pool.execute(PICTURE, pid="A", session=session) for _ in range(4)]
            answers.append(pool.execute(PICTURE, pid="A", session=session, final=True))
            assert len({answer.debug["process_id"] for answer in answers}) == 1


def test_call_moves_on_when_its_host_is_lost_and_its_session_is_told() -> None:
    with pooled(options=RETRYING) as pool:
        session = pool.session()
        begun = pool.pre_execute(PICTURE, pid="A", session=session).debug["process_id"]
        slow = [pool.submit("execute", PICTURE, pid="A", user_params={"takes": 0.5, "number": n}) for n in range(4)]
        os.kill(begun, signal.SIGKILL)
        assert [future.result(20).debug["echo"]["number"] for future in slow] == [0, 1, 2, 3]
        with pytest.raises(SessionLostError):
            pool.execute(PICTURE, pid="A", session=session)
        assert wait_until(lambda: all(s.state is SupervisorState.READY for s in pool.supervisors))
        assert begun not in processes(pool)


def test_with_a_shared_store_any_host_goes_on_with_a_session(tmp_path: Path) -> None:
    """SQLite, in the box: the state of the last call that was answered, found by another process."""
    with nothing_left() as mark, Pool("counting", hosts=2, options=counting(RETRYING, mark, tmp_path)) as pool:
        session = pool.session()
        counted = [pool.execute(PICTURE, pid="A", session=session).debug["calls"] for _ in range(4)]
        for process_id in processes(pool):
            assert process_id is not None
            os.kill(process_id, signal.SIGKILL)
        counted += [pool.execute(PICTURE, pid="A", session=session).debug["calls"] for _ in range(2)]
        assert counted == [1, 2, 3, 4, 5, 6]


def test_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """One host becomes ready, the other doesn't: the pool doesn't run on half of its hosts unnoticed."""
    with nothing_left() as mark:
        arguments = ("--first", str(tmp_path / "first"), "--setup-fails", "error")
        pool = Pool(command=peer(*arguments), hosts=2, options=marked(PATIENT, mark))
        with pytest.raises(LaunchError, match="no weights"):
            pool.start()
        with pytest.raises(RunnerStoppedError):
            pool.execute(PICTURE, pid="A")


def test_swap_goes_through_all_hosts() -> None:
    with pooled() as pool:
        before = processes(pool)
        assert len(pool.swap(command=peer("--verdict", "NG"))) == 2
        assert not set(before) & set(processes(pool))
        assert {pool.execute(PICTURE, pid="A").verdict for _ in range(6)} == {"NG"}


def test_swap_that_fails_on_the_second_host_is_taken_back_on_the_first(tmp_path: Path) -> None:
    """A pool is of one version."""
    with pooled() as pool:
        with pytest.raises(SwapError, match="no weights"):
            pool.swap(command=peer("--verdict", "NG", "--first", str(tmp_path / "first"), "--setup-fails", "error"))
        assert {pool.execute(PICTURE, pid="A").verdict for _ in range(6)} == {"OK"}
        assert {supervisor.command for supervisor in pool.supervisors} == {tuple(peer())}


def test_stop_during_a_swap_ends_everything() -> None:
    errors: list[BaseException] = []

    def swap(pool: Pool) -> None:
        try:
            pool.swap(command=peer("--setup-fails", "hang"))
        except SwapError as error:
            errors.append(error)

    starts: list[str] = []
    with pooled(listeners=[lambda event: starts.append(event.NAME)]) as pool:
        swapping = threading.Thread(target=swap, args=[pool])
        swapping.start()
        assert wait_until(lambda: starts.count("host_starting") == 3)
        pool.stop()
        swapping.join(20)
        assert len(errors) == 1


def test_pool_of_no_host_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one host"):
        Pool("any", hosts=0)


def test_forty_callers_of_a_pool_get_their_own_answers() -> None:
    with pooled(hosts=2) as pool, ThreadPoolExecutor(40) as threads:
        assert list(threads.map(lambda number: echo(pool, number), range(200))) == list(range(200))
