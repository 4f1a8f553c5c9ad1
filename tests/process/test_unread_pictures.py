"""An OK for a picture that nobody looked at is none: the same algorithm, with and without a process."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peer_plugins import environment, install_algorithm

from procvision_host.in_memory.runner import InMemoryRunner
from procvision_runner import CallFailedError, Runner, RunnerOptions

ALGORITHM = """
import threading
from procvision_sdk import BaseAlgorithm, Defect, Failed, Ng, Ok, Prepared, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        if user_params["does"] == "read before":
            session.set("mean", float(read_image_from_shared_memory(shared_mem_id, image_meta).mean()))
        return Prepared()

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        session.set("calls", session.get("calls", 0) + 1)
        debug = {"calls": session.get("calls")}
        look = lambda: read_image_from_shared_memory(shared_mem_id, image_meta)
        match user_params["does"]:
            case "read":
                look()
            case "read on a thread":
                thread = threading.Thread(target=look)
                thread.start()
                thread.join()
            case "read another":
                try:
                    read_image_from_shared_memory(shared_mem_id + "0", image_meta)
                except Exception:
                    pass
            case "ng":
                return Ng("spot", [Defect(0, 0, 1, 1, label="spot", score=0.5)], debug=debug)
            case "failed":
                return Failed("4711", "no light")
            case "dict":
                return {"status": "OK", "data": {"result_status": "OK", "debug": debug}}
        return Ok(debug=debug)
"""
STEPS = [{"index": 1, "name": "only", "params": [{"type": "string", "key": "does", "default": "nothing"}]}]
PICTURE = np.full((6, 8, 3), 90, np.uint8)


@pytest.fixture(scope="module", params=["host", "in memory"])
def runners(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Any]]:
    """A runner of the algorithm by what its manifest says of `reads_picture`; one is left to the default."""
    folder = tmp_path_factory.mktemp("installed")
    install_algorithm(folder, "reading", ALGORITHM, steps=STEPS)
    install_algorithm(folder, "free", ALGORITHM, steps=STEPS, reads_picture=False)
    names = {True: "reading", False: "free"}
    if request.param == "host":
        options = RunnerOptions(environment=environment(folder))
        with Runner("reading", options=options) as reading, Runner("free", options=options) as free:
            yield {True: reading, False: free}
        return
    classes = {}
    for reads, name in names.items():
        place = folder / f"vendor_{name}" / "__init__.py"
        spec = importlib.util.spec_from_file_location(f"vendor_{name}", place)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        classes[reads] = (module.Vendor, Path(place).with_name("manifest.json"))
    with (
        InMemoryRunner(classes[True][0], manifest=classes[True][1]) as reading,
        InMemoryRunner(classes[False][0], manifest=classes[False][1]) as free,
    ):
        yield {True: reading, False: free}


def call(runner: Any, does: str, picture: Any = PICTURE, **more: Any) -> Any:
    """One execute."""
    return runner.execute(picture, pid="A", user_params={"does": does}, **more)


@pytest.mark.parametrize("does", ["nothing", "dict", "read before"])
def test_ok_without_a_look_is_an_error(runners: dict[bool, Any], does: str) -> None:
    """Whatever form the OK has, and whatever was looked at in another call; 100 times of 100."""
    runner = runners[True]
    session = runner.session()
    runner.pre_execute(PICTURE, pid="A", session=session, user_params={"does": does})
    assert call(runner, "read", session=session).verdict == "OK"
    for _ in range(100 if does == "nothing" else 3):
        with pytest.raises(CallFailedError) as raised:
            call(runner, does, session=session)
        assert (raised.value.error_code, raised.value.kind) == ("1006", "picture_not_read")
        assert not raised.value.retryable
        assert "reads_picture" in str(raised.value)
    # What such a call left in the session isn't kept.
    assert call(runner, "read", session=session).debug["calls"] == 2


@pytest.mark.parametrize(
    ("does", "verdict"), [("read", "OK"), ("read on a thread", "OK"), ("ng", "NG"), ("failed", None)]
)
def test_who_looked_and_who_claims_nothing_is_answered_as_before(
    runners: dict[bool, Any], does: str, verdict: str | None
) -> None:
    """A look on any thread counts; NG and ERROR need none: they stop the product."""
    answer = call(runners[True], does)
    assert answer.verdict == verdict
    assert answer.status == ("ERROR" if verdict is None else "OK")


def test_look_at_another_picture_is_none(runners: dict[bool, Any]) -> None:
    """It is refused by itself, also where the algorithm swallows that."""
    for runner in runners.values():
        with pytest.raises(CallFailedError) as raised:
            call(runner, "read another")
        assert (raised.value.error_code, raised.value.kind) == ("1002", "not_this_calls_image")


@pytest.mark.parametrize("does", ["nothing", "dict"])
def test_call_without_a_picture_has_nothing_to_look_at(runners: dict[bool, Any], does: str) -> None:
    """What such an OK is worth is the line's affair, which sent none."""
    assert call(runners[True], does, None).verdict == "OK"


@pytest.mark.parametrize("does", ["nothing", "dict", "read", "read on a thread"])
def test_manifest_may_say_that_no_look_is_needed(runners: dict[bool, Any], does: str) -> None:
    """A gate that counts products, say."""
    assert call(runners[False], does).verdict == "OK"
