"""The fixtures as a vendor has them: pytest finds them by itself, in a project that knows nothing of this suite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from peer_plugins import install

from procvision_host import pytest_plugin as host_plugin
from procvision_runner import pytest_plugin as runner_plugin
from procvision_testing import pytest_plugin as sdk_plugin

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "testing.md"
TESTS = '''
import json
from pathlib import Path

import pytest
from procvision_testing import CallFailedError, check_algorithm, snapshot
from vendors_check import Check

KEPT = Path(__file__).with_name("kept.json")


@pytest.fixture(params=["memory", "process"])
def runner(request, in_memory_runner, real_runner):
    return in_memory_runner(Check) if request.param == "memory" else real_runner("vendors-check")


def test_both_runners_take_the_same_calls(runner, sample_pictures):
    session = runner.session({"product_code": "X"})
    assert runner.pre_execute(sample_pictures.good, pid="A", session=session).verdict is None
    result = runner.execute(sample_pictures.bad, pid="A", session=session, final=True)
    assert (result.verdict, result.ng_reason) == ("NG", "darker by 1")
    assert runner.execute(sample_pictures.mono, pid="A").verdict == "OK"


def test_what_is_refused_is_refused_by_both(runner, sample_pictures):
    with pytest.raises(Exception, match="is not supported") as caught:
        runner.execute(sample_pictures.good, pid="B")
    assert caught.value.error_code == "1001"


def test_it_keeps_the_contract(runner):
    assert check_algorithm(runner)


@pytest.mark.parametrize("run", [1, 2])
def test_a_result_is_the_same_in_every_run(run, runner, sample_pictures):
    """The first run writes what every other must find."""
    session = runner.session()
    runner.pre_execute(sample_pictures.good, pid="A", session=session)
    taken = snapshot(runner.execute(sample_pictures.bad, pid="A", session=session))
    if KEPT.exists():
        assert taken == json.loads(KEPT.read_text())
    KEPT.write_text(json.dumps(taken))
    assert taken["data"]["defect_rects"][0]["score"] == 0.333
    assert "latency_ms" not in json.dumps(taken)


def test_by_hand(inspection_session, lent_pictures, sample_pictures):
    """Without any runner."""
    check = Check()
    check.setup()
    check.pre_execute(1, "A", inspection_session, {}, *lent_pictures.put(sample_pictures.bad))
    assert inspection_session.get("mean")
    answer = check.execute(1, "A", inspection_session, {}, *lent_pictures.put(sample_pictures.bad))
    assert type(answer).__name__ == "Ok"


def test_samples_know_their_defects(sample_pictures):
    assert [mark.label for mark in sample_pictures.defects] == ["spot", "scratch", "spot"]
    for mark in sample_pictures.defects:
        inside = sample_pictures.bad[mark.y : mark.y + mark.height, mark.x : mark.x + mark.width]
        assert inside.min() < 80
    assert sample_pictures.good.min() > 80
'''
ALGORITHM = """
from procvision_sdk import BaseAlgorithm, Defect, Ng, Ok, Prepared, read_image_from_shared_memory as read

class Check(BaseAlgorithm):
    def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        session.set("mean", round(float(read(shared_mem_id, image_meta).mean()), 3))
        return Prepared()
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        mean = round(float(read(shared_mem_id, image_meta).mean()), 3)
        darker = session.get("mean", mean) - mean
        return Ng("darker by 1", [Defect(1, 2, 3, 4, "dark", 1 / 3)]) if darker > 0.01 else Ok()
"""
MANIFEST = """{"name": "vendors-check", "version": "1.0", "entry_point": "vendors_check:Check", "supported_pids": ["A"],
 "steps": [{"index": 1, "name": "only"}]}"""


def test_a_vendors_tests_find_everything(tmp_path):
    package = tmp_path / "vendors_check"
    package.mkdir()
    (package / "__init__.py").write_text(ALGORITHM)
    (package / "manifest.json").write_text(MANIFEST)
    install(tmp_path, "vendors-check", {"procvision.algorithms": {"vendors-check": "vendors_check:Check"}}, "1.0")
    (tmp_path / "test_check.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)}, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 passed" in done.stdout


def test_the_reference_has_every_fixture():
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE))
    there = {
        name
        for plugin in (sdk_plugin, host_plugin, runner_plugin)
        for name, value in vars(plugin).items()
        if type(value).__name__ == "FixtureFunctionDefinition" or hasattr(value, "_pytestfixturefunction")
    }
    assert len(there) >= 5
    assert there <= told


def test_pytest_starts_without_numpy():
    """The plugins of this package are loaded by every run of pytest in its environment, whatever it is for."""
    plugins = "procvision_testing.pytest_plugin, procvision_host.pytest_plugin, procvision_runner.pytest_plugin"
    code = f"import sys, {plugins}; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr
