"""What an algorithm's process can't do under isolation, and that all else goes on as without."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from peer_plugins import environment, install_algorithm

from procvision_host.sandbox.rules import try_namespaces
from procvision_runner import (
    CallError,
    HostDiedError,
    Pool,
    RetryPolicy,
    Runner,
    RunnerOptions,
    Supervisor,
    SupervisorOptions,
)
from procvision_testing.boards.make import make_board, with_defects

LEVELS = ("off", "basic", "strict")
ALGORITHM = """
import ctypes, os, signal, socket, subprocess, sys, tempfile
from procvision_sdk import BaseAlgorithm, Ok, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        read_image_from_shared_memory(shared_mem_id, image_meta)
        names = dict(globals(), self=self)
        try:
            exec(session.context["code"], names)
        except OSError as error:
            return Ok(message=f"refused: {error.strerror}")
        return Ok(message=f"done: {names.get('out', '')}")
"""
PICTURE = np.zeros((8, 8, 3), np.uint8)
# PTRACE_SEIZE, which does not stop the process that is traced: it is this one.
TRACE = """
if ctypes.CDLL(None, use_errno=True).ptrace(0x4206, {process}, 0, 0) < 0:
    raise OSError(ctypes.get_errno(), "no")
"""
CHILD = """
if subprocess.call([sys.executable, "-c", "open('/proc/{process}/environ')"], stderr=-3):
    raise OSError(13, "no")
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation is Linux's")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the algorithm that does what it is told."""
    return environment(install_algorithm(tmp_path_factory.mktemp("installed"), "told", ALGORITHM))


@pytest.fixture(scope="module", params=LEVELS)
def told(request: pytest.FixtureRequest, installed: dict[str, str]) -> Iterator[Any]:
    """A host at each level, as a function from code to what came of it; its `level` is the level."""
    options = RunnerOptions(environment=installed, isolation=request.param, ready_timeout_s=60.0)
    with Runner("told", options=options) as runner:

        class Told:
            level: str = request.param

            def __call__(self, code: str) -> str:
                session = runner.session({"code": code})
                return runner.execute(PICTURE, pid="A", session=session, timeout_s=60.0).message

        yield Told()


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another's file, of the same user."""
    path = tmp_path_factory.mktemp("anothers") / "secret"
    path.write_text("secret")
    return path


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("another's environment", "out = open('/proc/{process}/environ').read()"),
        ("another's memory", "out = open('/proc/{process}/mem', 'r+b')"),
        ("another's descriptors", "out = os.listdir('/proc/{process}/fd')"),
        ("a signal", "os.kill({process}, 0)"),
        ("a trace", TRACE),
        ("a priority", "os.setpriority(os.PRIO_PROCESS, {process}, 19)"),
        ("a child's look at another", CHILD),
    ],
)
def test_other_processes_are_out_of_reach(what: str, code: str, told: Any) -> None:
    """Of the runner's own user, from `basic` on; also for what the algorithm starts."""
    answer = told(code.format(process=os.getpid()))
    assert answer.startswith("done" if told.level == "off" else "refused"), what


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("another's file to read", "out = open({secret!r}).read()"),
        ("another's file to write", "open({secret!r}, 'a').write('x')"),
        ("another's file to cut", "os.truncate({secret!r}, 1)"),
        ("the home to read", "out = os.listdir({home!r})"),
        ("another's file in /dev/shm", "open('/dev/shm/procvision-test-isolation', 'r+')"),
        ("another's file's mode", "os.chmod({secret!r}, 0o644)"),
        ("another's file's times", "os.utime({secret!r})"),
        ("TCP", "socket.create_connection(('127.0.0.1', {port}), 5)"),
        ("UDP", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))"),
        ("a unix socket", "socket.socket(socket.AF_UNIX).connect({unix!r})"),
    ],
)
def test_files_and_the_network_are_out_of_reach_under_strict(
    what: str, code: str, told: Any, secret: Path, tmp_path: Path
) -> None:
    """What the algorithm was not given. Without isolation it all works, so that the attempt is one."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "u"))
        unix.listen()
        Path("/dev/shm/procvision-test-isolation").write_text("x")
        facts = {"secret": str(secret), "home": str(Path.home()), "unix": str(tmp_path / "u")}
        answer = told(code.format(port=server.getsockname()[1], **facts))
    Path("/dev/shm/procvision-test-isolation").unlink(missing_ok=True)
    assert answer.startswith("refused" if told.level == "strict" else "done"), (what, answer)
    secret.write_text("secret")


APPENDED = """
for path in ({log!r}, {key!r}, {database!r}, {config!r}):
    with open(path, "a") as file: file.write("WRIT" "TEN")
out = [os.listdir({folder!r}), open({key!r}).read(), open({beside!r}).read()]
"""


def test_files_of_the_host_half_are_out_of_sight(installed: dict[str, str], tmp_path: Path) -> None:
    """Of observers and stores, with their secrets: from `basic` on, which leaves all other files as they are."""
    if try_namespaces() is not None:
        pytest.skip("this user can't have mounts of its own here")
    # Another's, though its name begins alike.
    beside = tmp_path / "s.db.onnx"
    beside.write_text("x")
    key, database, config, log = (tmp_path / name for name in ("key", "s.db", "host.toml", "log/told.jsonl"))
    config.write_text(f'[hooks.json-lines]\ndirectory = "{log.parent}"\n')
    options = RunnerOptions(
        environment=installed | {"PROCVISION_SESSION_KEY": str(key)},
        isolation="basic",
        ready_timeout_s=60.0,
        host_arguments=("--config", str(config), "--sessions", f"sqlite:{database}"),
    )
    paths = {"log": log, "key": key, "database": database, "config": config, "folder": log.parent}
    code = APPENDED.format(**{name: str(path) for name, path in paths.items()}, beside=str(beside))
    before = config.read_bytes()
    with Runner("told", options=options) as runner:
        session = runner.session({"code": code})
        assert runner.execute(PICTURE, pid="A", session=session).message == "done: [['told.jsonl'], '', 'x']"
        session = runner.session({"code": "out = 1"})
        runner.execute(PICTURE, pid="A", session=session)
    assert b"WRITTEN" not in b"".join(path.read_bytes() for path in (log, key, database))
    assert config.read_bytes() == before
    assert len(key.read_bytes()) == 32
    assert b"done: " in log.read_bytes()


SHARING = """
import multiprocessing
from multiprocessing import shared_memory
def work(numbers, found, lock):
    with lock: found.put(numbers.get() + 1)
context = multiprocessing.get_context("{kind}")
numbers, found, lock = context.Queue(), context.Queue(), context.Lock()
child = context.Process(target=work, args=(numbers, found, lock))
child.start(); numbers.put(41); out = found.get(timeout=30); child.join(30)
block = shared_memory.SharedMemory(create=True, size=4096)
block.buf[0] = 1; block.close(); block.unlink()
"""


def test_multiprocessing_works_in_a_shared_memory_of_its_own(told: Any) -> None:
    """Queues, locks and blocks of the vendor's own children; nothing of them is seen outside."""
    if told.level == "strict" and try_namespaces() is not None:
        pytest.skip("this user can't have namespaces here")
    assert told(SHARING.replace("{kind}", "fork")) == "done: 42"
    if told.level == "strict":
        assert told("open('/dev/shm/procvision-mine', 'w').write('x')").startswith("done")
        assert not Path("/dev/shm/procvision-mine").exists()


@pytest.mark.parametrize(
    "code",
    [
        "import numpy; out = numpy.ones(3).sum()",
        "import cv2; out = cv2.blur(__import__('numpy').zeros((9, 9), 'uint8'), (3, 3)).sum()",
        "out = subprocess.run([sys.executable, '-c', 'import numpy'], check=True).returncode",
        "with tempfile.TemporaryFile() as file: out = file.write(b'x')",
        "out = os.path.exists(os.path.expanduser('~')); open(os.path.expanduser('~/cache'), 'w').write('x')",
        "import threading; thread = threading.Thread(target=print); thread.start(); thread.join()",
        "child = os.fork()\nif child == 0: os._exit(7)\nout = os.waitpid(child, 0)[1]",
        "left, right = socket.socketpair(); left.send(b'x'); out = right.recv(1)",
    ],
)
def test_what_algorithms_do_goes_on(code: str, told: Any) -> None:
    """Libraries, threads, children, files of their own."""
    assert told(code).startswith("done"), code


def test_amounts_are_bounded(told: Any) -> None:
    """Dumps of memory, who is ended first where memory runs out; under `strict` files as well."""
    core = told("import resource; out = resource.getrlimit(resource.RLIMIT_CORE)")
    adjusted = int(told("out = open('/proc/self/oom_score_adj').read()").removeprefix("done: "))
    own = int(Path("/proc/self/oom_score_adj").read_text())
    large = told("file = tempfile.TemporaryFile(); file.truncate((1 << 30) + 1)")
    files = told("out = [os.open('/dev/null', 0) for _ in range(4200)] and 'many'") if told.level == "strict" else ""
    if told.level == "off":
        assert adjusted == own
        assert large.startswith("done")
        return
    assert core == "done: (0, 0)"
    assert adjusted == min(1000, own + 500)
    if told.level == "basic":
        assert large.startswith("done")
        return
    assert large.startswith("refused: File too large")
    assert files.startswith("refused: Too many open files")
    assert told("for number in range(3, 5000):\n    try: os.close(number)\n    except OSError: pass").startswith("done")


def test_closed_descriptors_are_mended_at_every_level(told: Any) -> None:
    """The frames go on, although the process may not look into its guardian any more."""
    code = "for number in range(3, 256):\n    try: os.close(number)\n    except OSError: pass"
    for number in range(3):
        assert told(code).startswith("done")
        assert told(f"out = {number}") == f"done: {number}"


def test_a_file_that_is_granted_is_read_or_written(installed: dict[str, str], secret: Path, tmp_path: Path) -> None:
    """And nothing beside it."""
    (tmp_path / "out").mkdir()
    options = RunnerOptions(
        environment=installed, isolation="strict", ready_timeout_s=60.0,
        host_arguments=("--readable", str(secret), "--writable", str(tmp_path / "out")),
    )  # fmt: skip
    beside = secret.with_name("beside")
    beside.write_text("x")
    with Runner("told", options=options) as runner:

        def told(code: str) -> str:
            return runner.execute(PICTURE, pid="A", session=runner.session({"code": code}), timeout_s=60.0).message

        assert told(f"out = open({str(secret)!r}).read()") == "done: secret"
        assert told(f"open({str(secret)!r}, 'w')").startswith("refused")
        assert told(f"open({str(beside)!r})").startswith("refused")
        assert told(f"open({str(tmp_path / 'out' / 'a')!r}, 'w').write('x')").startswith("done")
        assert told(f"open({str(tmp_path / 'b')!r}, 'w')").startswith("refused")


@pytest.mark.parametrize("kind", [Supervisor, Pool])
def test_a_kept_host_is_shut_in_too(kind: Any, installed: dict[str, str], secret: Path) -> None:
    """Also the one that follows a crash."""
    runner = RunnerOptions(environment=installed, isolation="strict", ready_timeout_s=60.0)
    more = {"hosts": 1} if kind is Pool else {}
    with kind("told", options=SupervisorOptions(runner=runner), **more) as kept:

        def told(code: str) -> str:
            message: str = kept.execute(PICTURE, pid="A", session=kept.session({"code": code}), timeout_s=60.0).message
            return message

        assert told(f"open({str(secret)!r})").startswith("refused")
        with pytest.raises(HostDiedError):
            kept.execute(PICTURE + 1, pid="A", session=kept.session({"code": "os._exit(3)"}), timeout_s=60.0)
        assert told(f"open({str(secret)!r})").startswith("refused")


def test_an_end_is_told_as_without_isolation(installed: dict[str, str]) -> None:
    """The signal that it ended by, and where it was: the stacks of a process that crashed, or hung."""
    runner = RunnerOptions(environment=installed, isolation="strict", ready_timeout_s=60.0)
    lines: list[str] = []
    options = SupervisorOptions(runner=runner, retry=RetryPolicy(retries=0))
    with Supervisor("told", options=options, on_log=lambda record: lines.append(str(record))) as kept:

        def does(code: str, timeout_s: float) -> None:
            kept.execute(PICTURE, pid="A", session=kept.session({"code": code}), timeout_s=timeout_s)

        with pytest.raises(HostDiedError, match="SIGSEGV"):
            does("ctypes.string_at(0)", 60.0)
        deadline = time.monotonic() + 10
        while "Segmentation fault" not in "".join(lines) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert "Segmentation fault" in "".join(lines)
        assert "string_at" in "".join(lines)


FILLED = """
import fcntl
for number in range(3, 300):
    try: flags = fcntl.fcntl(number, fcntl.F_GETFL)
    except OSError: continue
    if flags & 3 != os.O_WRONLY or number in (1, 2): continue
    fcntl.fcntl(number, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    try:
        while number < 200: os.write(number, bytes(4096))  # not the frames
    except OSError: pass
    fcntl.fcntl(number, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)
import time
time.sleep(100)
"""


def test_pipes_that_an_algorithm_fills_or_empties_stop_nobody(installed: dict[str, str]) -> None:
    """Neither its guardian, which leaves when it is told to, nor a reader that saw what isn't there any more."""
    options = RunnerOptions(environment=installed, host_arguments=("--drain-timeout-s", "1"), ready_timeout_s=60.0)
    with Runner("told", options=options) as runner:
        process = runner._client.process
        assert not os.get_blocking(process.stdout)
        call = runner.submit("execute", PICTURE, pid="A", session=runner.session({"code": FILLED}), timeout_s=60.0)
        time.sleep(0.5)
        os.kill(process.process_id, signal.SIGTERM)
        with pytest.raises(CallError):
            call.result(30)
        assert process.wait(10) is not None


def test_a_record_of_results_is_not_the_algorithms_to_write(installed: dict[str, str], tmp_path: Path) -> None:
    """The hook plugin writes it in the host half; the algorithm, whose results stand in it, can't reach it."""
    record = tmp_path / "log" / "told.jsonl"
    options = RunnerOptions(
        environment=installed, isolation="strict", ready_timeout_s=60.0,
        host_arguments=("--hook", "json-lines", "--hook-option", f"json-lines.directory={record.parent}"),
    )  # fmt: skip
    with Runner("told", options=options) as runner:
        for code in (f"open({str(record)!r}, 'a').write('forged')", f"open({str(record)!r}).read()", "out = 'honest'"):
            runner.execute(PICTURE, pid="A", session=runner.session({"code": code}), timeout_s=60.0)
    text = record.read_text()
    assert "done: honest" in text
    assert text.count("refused: ") == 2
    assert "\nforged" not in text


def test_a_board_is_compared_under_strict() -> None:
    """By NumPy and OpenCV. The tests of the other algorithms with a host run shut in, with onnxruntime."""
    pytest.importorskip("procvision_pcb", reason="procvision-pcb is not installed")
    board = make_board(seed=3)
    with Runner("pcb-compare", options=RunnerOptions(isolation="strict", ready_timeout_s=100.0)) as runner:
        session = runner.session()
        assert runner.pre_execute(board.picture, pid="A", session=session).status == "OK"
        assert runner.execute(board.picture, pid="A", session=session).verdict == "OK"
        found = runner.execute(with_defects(board, ["open", "short"], seed=1)[0], pid="A", session=session)
        assert found.verdict == "NG"


def test_a_machine_without_a_mechanism_is_named_and_off_works(installed: dict[str, str]) -> None:
    """A filter that denies Landlock's calls stands for an old kernel."""
    program = (
        "import os, sys, errno\n"
        "from procvision_host.sandbox.seccomp import Refusal, refuse, refusing\n"
        "calls = ('landlock_create_ruleset', 'landlock_add_rule', 'landlock_restrict_self')\n"
        "refuse((Refusal(calls, refusing(errno.ENOSYS)),))\n"
        "from procvision_runner import LaunchError, Runner, RunnerOptions\n"
        "for level, missing in (('off', None), (None, None), ('strict', None), (None, 'warn')):\n"
        "    options = RunnerOptions(isolation=level, isolation_missing=missing, ready_timeout_s=60.0)\n"
        "    try:\n"
        "        with Runner('told', options=options) as runner: print(level, missing, runner.alive)\n"
        "    except LaunchError as error:\n"
        "        print(level, error.error_code, 'Landlock' in str(error), '--isolation off' in str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=installed, timeout=110)
    assert done.stdout.splitlines() == [
        "off None True",
        "None 1010 True True",
        "strict 1010 True True",
        "None warn True",
    ], done.stderr


def test_a_container_that_refuses_unshare_runs_hosts_at_each_level(installed: dict[str, str]) -> None:
    """As Docker's own profile does for all but privileged ones: namespaces are gone, what a level promises isn't."""
    program = (
        "import errno\n"
        "from procvision_host.sandbox.seccomp import Refusal, refuse, refusing\n"
        "refuse((Refusal(('unshare', 'mount'), refusing(errno.EPERM)), Refusal(('clone3',), refusing(errno.ENOSYS))))\n"
        "from procvision_runner import Runner, RunnerOptions\n"
        "import numpy\n"
        "for level in ('basic', 'strict'):\n"
        "    with Runner('told', options=RunnerOptions(isolation=level, ready_timeout_s=60.0)) as runner:\n"
        "        session = runner.session({'code': 'out = open(\"/proc/1/environ\")'})\n"
        "        for _ in range(3):\n"
        "            print(runner.execute(numpy.zeros((8, 8, 3), 'uint8'), pid='A', session=session).message)\n"
        "        print(runner.stop())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=installed, timeout=110)
    assert done.stdout.splitlines() == [*["refused: Permission denied"] * 3, "0"] * 2, done.stdout + done.stderr


def test_any_program_is_shut_in_by_confined(secret: Path, tmp_path: Path) -> None:
    """It has what it is given; what can't be enforced, or started, is 78 with the reason."""
    begin = "import os, sys; from procvision_host.sandbox.seccomp import Refusal, refuse, refusing\n"
    deny = "refuse((Refusal(('landlock_create_ruleset',), refusing(38)),))\n"
    host = "os.execv(sys.executable, [sys.executable, '-m', 'procvision_host', 'confined', *sys.argv[1:]])"

    def confined(*arguments: str, without: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", begin + without + host, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    code = f"print(open({str(secret)!r}).read())"
    program = ("--", sys.executable, "-c", code)
    assert "PermissionError" in confined("--isolation", "strict", *program).stderr
    assert confined("--isolation", "strict", "--readable", str(secret), *program).stdout == "secret\n"
    assert confined("--isolation", "off", *program).stdout == "secret\n"
    missing = confined("--isolation", "strict", *program, without=deny)
    assert (missing.returncode, missing.stdout) == (78, "")
    assert "Landlock can't be used on this machine" in missing.stderr
    assert "--isolation off does without" in missing.stderr
    assert confined("--isolation", "strict", "--", str(tmp_path / "none")).returncode == 78


def test_a_level_that_there_is_not_is_refused() -> None:
    """When the options are made."""
    with pytest.raises(ValueError, match="isolation"):
        RunnerOptions(isolation="total")  # type: ignore[arg-type]
    assert attrs.evolve(RunnerOptions(), isolation="basic").isolation == "basic"
