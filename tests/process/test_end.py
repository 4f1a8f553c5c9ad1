"""How a host ends and begins whatever stands around it: forks of its runner, daemons of its algorithm, odd parents."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peer_plugins import environment, host_command, install_algorithm
from wire_client import eventually, gone, lives

from procvision_host.process.linux import descendants, parents
from procvision_runner import HostDiedError, Runner, RunnerOptions

ALGORITHM = """
import os, signal, subprocess, sys, time
from procvision_sdk import BaseAlgorithm, Ok, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        read_image_from_shared_memory(shared_mem_id, image_meta)
        names = {"os": os, "signal": signal, "subprocess": subprocess, "sys": sys, "time": time}
        exec(session.context["code"], names)
        return Ok(message=str(names.get("out", "")))
"""
PICTURE = np.zeros((8, 8, 3), np.uint8)
DAEMON = """
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(write, str(os.getpid()).encode())
        os.closerange(0, 4096)
        os.execve("/bin/sleep", ["sleep", "3600"], {})
    os._exit(0)
os.wait()
out = os.read(read, 20).decode()
"""
"""Nothing that it has tells whose it is: no parent, no session, no descriptor, no environment."""
NESTING = ("unshare", "--pid", "--fork", "--mount-proc", *(("--user", "--map-root-user") if os.getuid() else ()))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the algorithm that does what it is told."""
    return environment(install_algorithm(tmp_path_factory.mktemp("installed"), "told", ALGORITHM))


@pytest.fixture
def runner(installed: dict[str, str]) -> Iterator[Runner]:
    """A runner of it."""
    with Runner("told", options=options(installed)) as made:
        yield made


def options(installed: dict[str, str], **more: Any) -> RunnerOptions:
    """Patient ones."""
    return RunnerOptions(environment=installed, handshake_timeout_s=60.0, ready_timeout_s=60.0, **more)


def tell(runner: Runner, code: str) -> str:
    """What the algorithm says of it."""
    return runner.execute(PICTURE, pid="A", session=runner.session({"code": code}), timeout_s=60.0).message


def chain(process_id: int) -> list[int]:
    """An algorithm's process, and those of its host above it: cell, reaper, host half."""
    known = parents()
    return [process_id, known[process_id], known[known[process_id]]]


def script(code: str, installed: dict[str, str], **more: Any) -> subprocess.CompletedProcess[str]:
    """A program of an integrator's."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=installed,
        capture_output=True,
        text=True,
        timeout=100,
        **more,
    )


FORKING = """
import json, multiprocessing, os, subprocess, time
from procvision_runner import Runner, Supervisor
from procvision_host.process.linux import descendants

def pipes():
    return [number for number in range(3, 64) if is_a_pipe(number)]

def is_a_pipe(number):
    try:
        return os.readlink("/proc/self/fd/%d" % number).startswith("pipe:")
    except OSError:
        return False

with Runner("told") as one, Supervisor("told") as other:
    hosts = list(descendants(os.getpid()))
    {fork}
    forks = [each for each in descendants(os.getpid()) if each not in hosts]
    with open({told!r}, "w") as file:
        json.dump([hosts, forks], file)
    os.kill(os.getpid(), 9)
"""


# --- forks of the runner ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fork",
    [
        "if os.fork() == 0: time.sleep(3600)",
        "multiprocessing.get_context('fork').Process(target=time.sleep, args=(3600,), daemon=False).start()",
        "subprocess.Popen(['sleep', '3600'], close_fds=False, pass_fds=pipes())",
    ],
    ids=["os.fork", "multiprocessing", "subprocess"],
)
def test_fork_of_a_runner_that_was_killed_keeps_no_host(fork: str, installed: dict[str, str], tmp_path: Path) -> None:
    """It has the runner's ends of all pipes, and lives on."""
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(FORKING.format(fork=fork, told=str(tmp_path / "told")))],
        env=installed, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert program.wait(100) == -signal.SIGKILL
    hosts, forks = json.loads((tmp_path / "told").read_text())
    try:
        assert len(hosts) >= 6
        gone(*hosts)
        assert any(map(lives, forks))
    finally:
        for process_id in filter(lives, forks):
            os.kill(process_id, signal.SIGKILL)


def test_fork_of_a_runner_that_stops_keeps_no_host(installed: dict[str, str]) -> None:
    """Stopping is as ever."""
    with Runner("told", options=options(installed)) as runner:
        process_ids = chain(int(tell(runner, "out = os.getpid()")))
        fork = os.fork()
        if fork == 0:
            signal.pause()
            os._exit(0)
        try:
            assert runner.stop() == 0
            assert not any(map(lives, process_ids))
        finally:
            os.kill(fork, signal.SIGKILL)
            os.waitpid(fork, 0)


# --- what the algorithm left behind -------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["the cell", "the reaper", "the host half", "none"])
def test_a_daemon_ends_with_its_host(victim: str, runner: Runner) -> None:
    """Whichever process of the host is killed; by a stop, too."""
    daemon = int(tell(runner, DAEMON))
    assert lives(daemon)
    process_ids = chain(int(tell(runner, "out = os.getpid()")))
    if victim == "none":
        runner.stop()
    else:
        os.kill(dict(zip(("the cell", "the reaper", "the host half"), process_ids, strict=True))[victim], 9)
        with pytest.raises(HostDiedError):
            tell(runner, "time.sleep(60)")
    gone(daemon, *process_ids)


def test_a_daemon_ends_with_its_host_where_the_whole_group_is_killed(runner: Runner) -> None:
    """What is done to a job as a whole; the reaper isn't in that group."""
    daemon = int(tell(runner, DAEMON))
    process_ids = chain(int(tell(runner, "out = os.getpid()")))
    os.killpg(os.getpgid(process_ids[-1]), signal.SIGKILL)
    gone(daemon, *process_ids)


def test_orphans_of_an_algorithm_are_collected_while_it_runs(runner: Runner) -> None:
    """A vendor's library that forks twice at each call uses up no process numbers."""
    twice = "if os.fork() == 0:\n    os.fork()\n    os._exit(0)\nos.wait()"
    reaper = chain(int(tell(runner, "out = os.getpid()")))[1]
    for _ in range(5):
        tell(runner, twice)
    eventually(lambda: len(descendants(reaper)) == 1, "the end of the orphans")


# --- numbers that are somebody else's by now ----------------------------------------------------------------

REUSED = """
import os, signal, sys, time
import numpy as np
from procvision_runner import HostDiedError, Runner, RunnerOptions, Supervisor, SupervisorOptions
from procvision_runner.process.host_process import HostProcess

def stranger_with(number):
    # A session of its own, with a child: all that a host's number could be mistaken for.
    for _ in range(50):
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write(str(number - 1))
        process_id = os.fork()
        if process_id == 0:
            if os.getpid() == number:
                os.setsid()
                if os.fork() == 0:
                    os.setsid()
                time.sleep(3600)
            os._exit(0)
        if process_id == number:
            return
        os.waitpid(process_id, 0)
    sys.exit("the number %d wasn't given out" % number)

def lives(number):
    return os.waitpid(number, os.WNOHANG) == (0, 0)

class Kept(HostProcess):
    made = []
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.made.append(self)

import procvision_runner.connection.launch, procvision_runner.supervision.supervised_host
procvision_runner.connection.launch.HostProcess = Kept
procvision_runner.supervision.supervised_host.HostProcess = Kept
picture = np.zeros((8, 8, 3), np.uint8)
for make in (Runner, Supervisor):
    kept = make("told")
    with kept:
        process = Kept.made[-1]
        try:
            kept.execute(picture, pid="A", session=kept.session({"code": "os._exit(3)"}), timeout_s=60.0)
        except HostDiedError:
            pass
        number = process.process_id
        while os.path.exists("/proc/%d" % number):
            time.sleep(0.01)
        stranger_with(number)
    for deed in (kept.stop, process.kill_tree, process.terminate, lambda: process.send_signal(signal.SIGKILL)):
        deed()
    time.sleep(0.1)
    print(make.__name__, lives(number))
"""


def nested(*command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run in a process namespace of its own, as its first process, where numbers can be chosen."""
    if shutil.which("unshare") is None or subprocess.run([*NESTING, "true"], capture_output=True).returncode:
        pytest.skip("this user can't have a process namespace here")
    return subprocess.run([*NESTING, *command], env=env, capture_output=True, text=True, timeout=100)


def test_no_signal_reaches_a_process_that_got_a_hosts_number(installed: dict[str, str]) -> None:
    """Neither by stop() after a crash nor by anything else."""
    done = nested(
        "sh", "-c", 'exec_() { "$@"; }; exec_ "$@"; exit $?', "-", sys.executable, "-c", REUSED, env=installed
    )
    assert done.stdout.splitlines() == ["Runner True", "Supervisor True"], done.stderr


def test_a_hosts_number_is_its_own_until_it_is_buried(installed: dict[str, str]) -> None:
    """It has ended, and nobody has collected it."""
    del installed
    from procvision_runner.process.host_process import HostProcess

    process = HostProcess(["/bin/sh", "-c", "exit 4"])
    assert process.wait(30.0) == process.exit_status == 4
    assert Path(f"/proc/{process.process_id}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    process.kill_tree()
    assert not Path(f"/proc/{process.process_id}").exists()
    assert process.exit_status == 4
    process.release()


# --- odd parents --------------------------------------------------------------------------------------------

STATES: dict[str, str] = {
    "blocked signals": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "ignored signals": "[signal.signal(n, signal.SIG_IGN) for n in signal.valid_signals() - {9, 19, 32, 33}]",
    "closed standard descriptors": "os.closerange(0, 3)",
    "a working folder that is gone": "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')",
    "a umask of 0": "os.umask(0)",
    "children that another thread collects": "threading.Thread(target=collect, daemon=True).start()",
}
PARENT = """
import json, os, signal, sys, threading, time

def collect():
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.001)

{state}
import numpy as np
from procvision_runner import HostDiedError, Runner
picture, found = np.zeros((8, 8, 3), np.uint8), []
with Runner("told") as runner:
    def tell(code):
        session = runner.session({{"code": code}})
        return runner.execute(picture, pid="A", session=session, timeout_s=60.0).message
    print("a line of the program's own", flush=True) if sys.stdout else os.write(1, b"a line")
    found = [json.loads(tell({asked!r}))]
    try:
        tell("os.kill(os.getpid(), 11)")
    except HostDiedError as error:
        found.append("SIGSEGV" in str(error))
with open({told!r}, "w") as file:
    json.dump(found, file)
"""
ASKED = """
import json, stat
lines = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
kinds = [stat.S_IFMT(os.fstat(number).st_mode) for number in range(3)]
mask = os.umask(0o77)
program = (
    "import signal; print([*signal.pthread_sigmask(0, ()), "
    "*(n for n in signal.valid_signals() - {13, 25} if signal.getsignal(n) is signal.SIG_IGN)])"
)
child = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True)
out = json.dumps({
    "blocked": int(lines["SigBlk"], 16), "ignored": int(lines["SigIgn"], 16), "umask": mask, "kinds": kinds,
    "folder": os.getcwd(), "child": child.stdout,
})
"""


@pytest.mark.parametrize("state", STATES)
def test_a_host_is_the_same_below_an_odd_program(state: str, installed: dict[str, str], tmp_path: Path) -> None:
    """It is launched, answers, tells why it ended, and is gone."""
    program = PARENT.format(state=STATES[state], asked=ASKED, told=str(tmp_path / "told"))
    done = script(program, installed, cwd=tmp_path)
    assert (tmp_path / "told").exists(), done.stderr
    seen, cause_was_told = json.loads((tmp_path / "told").read_text())
    assert cause_was_told
    assert (seen["blocked"], seen["umask"], seen["folder"]) == (0, 0o77, "/")
    assert seen["ignored"] == 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1  # every Python does
    assert seen["child"] == "[]\n"  # blocked and ignored
    assert seen["kinds"] == [stat.S_IFCHR, stat.S_IFIFO, stat.S_IFIFO]


# --- the first process of a container -----------------------------------------------------------------------


@pytest.fixture
def first(installed: dict[str, str]) -> Callable[..., Runner]:
    """A runner whose host is the first process of a process namespace."""
    nested("true", env=installed)  # skips
    return lambda: Runner(command=[*NESTING, *host_command("told")], options=options(installed))


def inside(runner: Runner) -> int:
    """The host's launched process, by its number outside."""
    assert runner._client is not None
    return next(child for child, parent in parents().items() if parent == runner._client.process.process_id)


def zombies(process_id: int) -> list[int]:
    """Those below a process that ended and that nobody has collected."""
    return [one for one in descendants(process_id) if Path(f"/proc/{one}").exists() and not lives(one)]


def test_a_host_that_is_process_1_collects_orphans_and_hears_sigterm(first: Callable[..., Runner]) -> None:
    """As a container's end sends it."""
    with first() as runner:
        assert tell(runner, "out = os.readlink('/proc/self') == str(os.getpid())") == "True"
        tell(runner, "if os.fork() == 0:\n    os.setsid()\n    os.fork()\n    os._exit(0)\nos.wait()")
        eventually(lambda: not zombies(inside(runner)), "the orphans' end")
        os.kill(inside(runner), signal.SIGTERM)
        assert runner._client is not None
        assert runner._client.process.wait(30.0) == 0


def test_a_crash_in_a_host_that_is_process_1_is_told(first: Callable[..., Runner]) -> None:
    """It can't end by the signal itself, so it ends as a shell tells of one."""
    with first() as runner, pytest.raises(HostDiedError, match="139, which stands for SIGSEGV") as died:
        tell(runner, "os.kill(os.getpid(), 11)")
    assert (died.value.cause, died.value.signal) == ("crashed", "SIGSEGV")
