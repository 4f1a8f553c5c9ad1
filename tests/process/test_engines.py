"""Each engine does what its protocol says, beside workers that die."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from procvision_tools.engines.local import LocalEngine
from procvision_tools.engines.protocol import BUILT_IN, Done, EngineError, open_engine
from procvision_tools.engines.testing import Example, check_engine, listening_addresses
from procvision_tools.extras import MissingExtraError

WHOLE = "PROCVISION_REQUALIFY_KILLS" in os.environ
"""`nox -s requalification`: a worker of Dask's takes seconds to start again."""


def test_local_processes_are_an_engine(tmp_path: Path) -> None:
    check_engine(LocalEngine(2), tmp_path)


def test_a_dask_cluster_that_is_started_here_is_an_engine(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    check_engine(open_engine("dask", 2), tmp_path, deaths=WHOLE)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:65536", "a port is 1 to 65535, this is 65536"),
        ("127.0.0.1:0", "a port is 1 to 65535, this is 0"),
        (f"127.0.0.1:{'9' * 20}", "a port is 1 to 65535"),
        (f"{'x' * 300}:1", "can't be looked up"),
        ("[zz]:1", "is no address"),
        ("127.0.0.1", "is no address"),
    ],
)
def test_an_address_that_no_scheduler_can_have_is_refused_at_once(address: str, told: str) -> None:
    pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    with pytest.raises(EngineError, match=rf"(?s){told}.*\nhint: "):
        open_engine(f"dask://{address}", None)


@pytest.mark.parametrize(
    ("how", "told"),
    [(signal.SIGKILL, "is gone"), (signal.SIGSTOP, "or one of its workers has not answered within 2 s")],
)
def test_a_scheduler_that_is_gone_ends_the_map(
    how: signal.Signals, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once where it died; after a time where it stands still, for which the library would wait for ever."""
    dask = pytest.importorskip("procvision_tools.engines.dask", reason="the extra `dask` is not installed")
    monkeypatch.setattr(dask, "ANSWER_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    dask_here = [sys.executable, "-m", "dask"]
    here = ["--host", "127.0.0.1", "--no-dashboard"]
    commands = (
        [*dask_here, "scheduler", *here, "--port", str(port)],
        [
            *dask_here,
            "worker",
            f"127.0.0.1:{port}",
            *here,
            "--no-nanny",
            "--nthreads",
            "1",
            "--local-directory",
            str(tmp_path),
        ],
    )
    with ExitStack() as stack:
        processes = []
        for words in commands:
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            processes.append(process)
            stack.callback(process.wait)
            stack.callback(process.kill)
        engine = stack.enter_context(open_engine(f"dask://127.0.0.1:{port}", None))
        outcomes = engine.map(Example(tmp_path, "takes long", 1), range(5), threading.Event())
        assert isinstance(next(outcomes), Done)
        processes[0].send_signal(how)
        with pytest.raises(EngineError, match=rf"127.0.0.1:{port}: its scheduler {told}\nhint: start it"):
            list(outcomes)


def test_one_worker_is_this_process(tmp_path: Path) -> None:
    with LocalEngine(1) as engine:
        outcomes = list(engine.map(Example(tmp_path), range(3), threading.Event()))
    assert outcomes == [Done(number, (number * number, os.getpid())) for number in range(3)]
    assert len(list(tmp_path.glob("closed.*"))) == 1


def test_one_worker_is_cancelled_between_pictures(tmp_path: Path) -> None:
    cancelled = threading.Event()
    threading.Timer(0.3, cancelled.set).start()
    with LocalEngine(1) as engine:
        assert list(engine.map(Example(tmp_path, "takes long", 0), range(5), cancelled)) == []
    assert len(list(tmp_path.glob("begun-*"))) == 1


def test_ports_are_found_with_their_address() -> None:
    before = listening_addresses()
    with socket.create_server(("127.0.0.1", 0)) as there:
        assert listening_addresses() - before == {f"127.0.0.1:{there.getsockname()[1]}"}


@pytest.mark.parametrize(
    ("text", "jobs", "message"),
    [
        ("nothing", None, "there is no engine 'nothing'"),
        ("local://here", None, "the local engine has no address"),
        ("local", 0, "at least one worker"),
    ],
)
def test_an_engine_that_there_is_not_is_refused(text: str, jobs: int | None, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        open_engine(text, jobs)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'procvision\[dask\]'"):
        open_engine("dask", None)
    assert set(BUILT_IN) == {"local", "dask"}


def test_the_how_tos_engine_passes_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`nox -s ray`: the code of the page, as it stands there."""
    pytest.importorskip("ray", reason="Ray is installed by nox -s ray alone")
    page = Path(__file__).parents[2] / "docs" / "how-to" / "write-an-engine.md"
    code = page.read_text("utf-8").partition('title="procvision_ray.py"\n')[2].partition("```")[0]
    (tmp_path / "procvision_ray.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of Ray's workers
    folder = tmp_path / "notes"
    folder.mkdir()
    check_engine(__import__("procvision_ray").RayEngine(jobs=2), folder, address=None)


def test_no_worker_outlives_a_command_that_was_killed(tmp_path: Path) -> None:
    """Its worker stops at its next picture, by the end of a socket alone."""
    child = os.fork()
    if not child:
        with LocalEngine(2) as engine:
            list(engine.map(Example(tmp_path, "takes long", 0), range(1000), threading.Event()))
        os._exit(0)
    end = time.monotonic() + 20
    while not list(tmp_path.glob("begun-0.*")):
        assert time.monotonic() < end
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    while len(list(tmp_path.glob("closed.*"))) < len(list(tmp_path.glob("opened.*"))):
        assert time.monotonic() < end
        time.sleep(0.05)
