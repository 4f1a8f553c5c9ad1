"""A picture that ends the host: tried twice, named, and no reason to give the line up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from peer_plugins import environment, install_algorithm
from supervising import MARK, QUICK, nothing_left, wait_until

from procvision_runner import Pool, RestartPolicy, RetryPolicy, Supervisor
from procvision_runner.errors import BrokenError, CallError, CallTimeoutError, HostDiedError, SuspectPictureError
from procvision_runner.supervision import events as kinds
from procvision_runner.supervision.options import SupervisorOptions

ALGORITHM = """
import ctypes, os, time
from procvision_sdk import BaseAlgorithm, Ok, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        level = int(read_image_from_shared_memory(shared_mem_id, image_meta)[0, 0, 0])
        if level == 255 and user_params["fatal"]:
            os._exit(1)
        if level == 254:
            ctypes.string_at(0)
        if level == 253:
            os.kill(os.getpid(), 6)
        if level == 252:
            time.sleep(60)
        if level == 251:
            os.kill(os.getpid(), 9)
        return Ok()
"""
STEPS = [{"index": 1, "name": "only", "params": [{"key": "fatal", "type": "bool", "default": True}]}]
LINE = attrs.evolve(
    QUICK,
    restart=RestartPolicy(max_restarts=3, first_delay_s=0.01, max_delay_s=0.05),
    retry=RetryPolicy(retries=2),
    cancel_grace_s=0.2,
    dump_timeout_s=0.1,
)


def picture(level: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """A picture of its own for each seed, whose corner says what it does."""
    made = np.random.default_rng(seed).integers(0, 200, (24, 32, 3), np.uint8)
    made[0, 0, 0] = level
    return made


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the algorithm that dies of some pictures."""
    return environment(install_algorithm(tmp_path_factory.mktemp("installed"), "fragile", ALGORITHM, steps=STEPS))


@pytest.fixture
def options(installed: dict[str, str]) -> Iterator[SupervisorOptions]:
    """A line's, with nothing left of it afterwards."""
    with nothing_left() as mark:
        runner = attrs.evolve(
            LINE.runner,
            environment={**installed, MARK: mark},
            handshake_timeout_s=30.0,
            ready_timeout_s=60.0,
            execute_timeout_s=30.0,
        )
        yield attrs.evolve(LINE, runner=runner)


@pytest.mark.parametrize("level", [255, 254, 253])
@pytest.mark.parametrize("submitted", [False, True])
def test_a_fatal_picture_is_tried_twice_and_the_line_goes_on(
    level: int, submitted: bool, options: SupervisorOptions, tmp_path: Path
) -> None:
    """Named in the event, the crash report and the error; the same picture again is refused at once."""
    heard: list[kinds.Event] = []
    options = attrs.evolve(options, crash_folder=tmp_path)
    fatal = picture(level)

    def ask(image: Any) -> Any:
        if submitted:
            return supervisor.submit("execute", image, pid="A", camera_id="cam 1").result(60)
        return supervisor.execute(image, pid="A", camera_id="cam 1")

    with Supervisor("fragile", options=options, listeners=[heard.append]) as supervisor:
        with pytest.raises(HostDiedError) as caught:
            ask(fatal)
        assert caught.value.facts is not None
        assert caught.value.facts.attempts == 2
        assert any("not tried again" in note for note in caught.value.__notes__)
        for _ in range(3):
            with pytest.raises(SuspectPictureError, match="ended 2 hosts in a row") as refused:
                ask(fatal.copy())
        assert refused.value.facts is not None
        assert refused.value.facts.attempts == 0
        for seed in range(5):
            assert ask(picture(10, seed)).verdict == "OK"
        assert supervisor.snapshot().counters["suspect_pictures"] == 1
        assert wait_until(lambda: any(isinstance(event, kinds.PictureSuspected) for event in heard))
    (event,) = [event for event in heard if isinstance(event, kinds.PictureSuspected)]
    assert (event.pid, event.step_index, event.camera_id) == ("A", 1, "cam 1")
    assert event.digest in str(refused.value)
    reports = [json.loads((folder / "cause.json").read_text()) for folder in sorted(tmp_path.iterdir())]
    assert [report["picture"]["ends"] for report in reports] == [1, 2]
    assert {report["picture"]["digest"] for report in reports} == {event.digest}


def test_several_fatal_pictures_in_a_minute_do_not_use_up_the_restarts(options: SupervisorOptions) -> None:
    """Four of them cost eight hosts, where three restarts are allowed; also without a good one in between."""
    with Supervisor("fragile", options=options) as supervisor:
        for seed in range(4):
            with pytest.raises(HostDiedError):
                supervisor.execute(picture(255, seed), pid="A")
        for seed in range(5):
            assert supervisor.execute(picture(10, seed), pid="A").verdict == "OK"


def test_an_algorithm_that_dies_of_every_picture_is_given_up(options: SupervisorOptions) -> None:
    """Pardon has a bound: else hosts would be restarted for ever."""
    met: list[type[CallError]] = []
    with Supervisor("fragile", options=options) as supervisor:
        for seed in range(30):
            with pytest.raises(CallError) as caught:
                supervisor.execute(picture(255, seed), pid="A")
            met.append(type(caught.value))
            if met[-1] is BrokenError:
                break
    assert met[-1] is BrokenError
    assert met.count(HostDiedError) >= 5


def test_a_picture_that_hangs_twice_is_not_tried_a_third_time(options: SupervisorOptions) -> None:
    """The host was ended for it, though its caller was told of the time."""
    with Supervisor("fragile", options=options) as supervisor:
        for _ in range(2):
            with pytest.raises(CallTimeoutError):
                supervisor.execute(picture(252), pid="A", timeout_s=0.5)
            assert wait_until(lambda: supervisor.execute(picture(10), pid="A").verdict == "OK")
        assert wait_until(lambda: supervisor.snapshot().counters.get("suspect_pictures") == 1)
        with pytest.raises(SuspectPictureError):
            supervisor.execute(picture(252), pid="A", timeout_s=0.5)


def test_other_parameters_and_what_is_mended_are_tried_again(options: SupervisorOptions) -> None:
    """The key is all that the algorithm was given; `recover()` and a swap forget."""
    with Supervisor("fragile", options=options) as supervisor:
        with pytest.raises(HostDiedError):
            supervisor.execute(picture(255), pid="A")
        assert supervisor.execute(picture(255), pid="A", user_params={"fatal": False}).verdict == "OK"
        with pytest.raises(SuspectPictureError):
            supervisor.execute(picture(255), pid="A")
        supervisor.recover()
        with pytest.raises(HostDiedError):
            supervisor.execute(picture(255), pid="A")
        supervisor.swap("fragile")
        with pytest.raises(HostDiedError):
            supervisor.execute(picture(255), pid="A")


def test_a_host_that_somebody_killed_is_no_pictures_fault(options: SupervisorOptions) -> None:
    """SIGKILL comes from outside: the third attempt is made."""
    options = attrs.evolve(
        options, retry=RetryPolicy(retries=5), restart=RestartPolicy(max_restarts=9, first_delay_s=0)
    )
    with Supervisor("fragile", options=options) as supervisor:
        with pytest.raises(HostDiedError) as caught:
            supervisor.execute(picture(251), pid="A")
        assert caught.value.facts is not None
        assert caught.value.facts.attempts == 6


def test_only_the_call_that_was_executed_is_blamed(options: SupervisorOptions) -> None:
    """The one that waited in the pipe behind it is made again, however often."""
    with Supervisor("fragile", options=options) as supervisor:
        fatal = [supervisor.submit("execute", picture(255, seed), pid="A") for seed in range(2)]
        good = [supervisor.submit("execute", picture(10, seed), pid="A") for seed in range(4)]
        assert all(isinstance(future.exception(60), HostDiedError) for future in fatal)
        assert {future.result(60).verdict for future in good} == {"OK"}


def test_a_pools_hosts_share_what_they_know(options: SupervisorOptions) -> None:
    """Two ends in all, whichever hosts they were."""
    with Pool("fragile", hosts=2, options=options) as pool:
        with pytest.raises(HostDiedError) as caught:
            pool.execute(picture(255), pid="A")
        assert caught.value.facts is not None
        assert caught.value.facts.attempts == 2
        with pytest.raises(SuspectPictureError):
            pool.execute(picture(255), pid="A")
        for seed in range(5):
            assert pool.execute(picture(10, seed), pid="A").verdict == "OK"
