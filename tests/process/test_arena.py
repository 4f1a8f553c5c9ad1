"""Pictures that nobody else can name: what a vendor's code tries on them, hosts of other makes, machines with less."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from peer_plugins import environment, host_command, install_algorithm
from supervising import descriptors, segments, wait_until

from procvision_runner import Runner, RunnerOptions, Supervisor, SupervisorOptions

FOREIGN = [sys.executable, "-S", str(Path(__file__).parents[1] / "peers" / "foreign_host.py")]
BAD = np.full((48, 64, 3), 255, np.uint8)
GOOD = np.zeros((48, 64, 3), np.uint8)
USERS = (0, 12345)

HONEST = """
import time
from procvision_sdk import BaseAlgorithm, Defect, Ng, Ok, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    '''A bright spot is a defect; it is looked for after a while, so that others have time.'''

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        time.sleep(0.1)
        picture = read_image_from_shared_memory(shared_mem_id, image_meta)
        return Ng("spot", [Defect(1, 1, 2, 2, label="spot", score=0.9)]) if picture.max() > 200 else Ok()
"""

EVIL = """
import ctypes, glob, mmap, os, stat, threading, time
from procvision_sdk import BaseAlgorithm, Ok, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    '''Has everything painted and cut off that looks like a picture of anybody's.'''

    def setup(self):
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        while True:
            for path in self.pictures():
                for deed in (self.mode, self.write, self.paint, self.cut):
                    try:
                        deed(path)
                        self.note("done" if deed != self.mode else "mode", path)
                    except Exception as error:
                        self.note(deed.__name__ + " refused", path)
            time.sleep(0.01)

    def pictures(self):
        '''What the runner of this test has, and its hosts: nobody else on this machine is disturbed.'''
        mine = ("NOTE=" + os.environ["NOTE"]).encode()
        found = glob.glob("/dev/shm/pv-%d-*" % os.getppid())
        for process in glob.glob("/proc/[0-9]*"):
            try:
                if mine not in open(process + "/environ", "rb").read().split(b"\\0"):
                    continue
                found += glob.glob("/dev/shm/pv-%s-*" % process[6:])
                found += [path for path in glob.glob(process + "/fd/*") if "memfd:" in os.readlink(path)]
            except OSError:
                continue
        return found

    def mode(self, path):
        os.chmod(path, 0o666)

    def write(self, path):
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.pwrite(descriptor, bytes(4096), 4096)
        finally:
            os.close(descriptor)

    def paint(self, path):
        descriptor = os.open(path, os.O_RDWR)
        try:
            with mmap.mmap(descriptor, 65536) as memory:
                memory[4096:] = bytes(61440)
        finally:
            os.close(descriptor)

    def cut(self, path):
        os.truncate(path, 0)

    def note(self, what, path):
        with open(os.environ["NOTE"], "a") as file:
            file.write(what + " " + path + "\\n")

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        read_image_from_shared_memory(shared_mem_id, image_meta)
        return Ok()
"""

CLOSING = """
import os, subprocess, sys
from procvision_sdk import BaseAlgorithm, Ok, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    '''Closes what it finds at every call, and tells what it and a child of its see of the arena.'''

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        mean = int(read_image_from_shared_memory(shared_mem_id, image_meta).mean())
        child = "import os; print([os.readlink('/proc/self/fd/' + n) for n in os.listdir('/proc/self/fd')[:-1]])"
        told = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout
        modes = [
            int(line.split()[1], 8) & os.O_ACCMODE
            for n in os.listdir("/proc/self/fd")
            if os.path.lexists("/proc/self/fd/" + n) and "memfd:procvision" in os.readlink("/proc/self/fd/" + n)
            for line in open("/proc/self/fdinfo/" + n) if line.startswith("flags")
        ]
        os.closerange(3, 1024)
        debug = {"mean": mean, "variable": os.environ.get("PROCVISION_ARENA"), "child": told, "modes": modes}
        return Ok(debug=debug)
"""


def options(folder: Path, **more: Any) -> RunnerOptions:
    """Of a runner whose hosts find what is installed in the folder."""
    told = more.pop("told", {})
    return RunnerOptions(environment=environment(folder, **told), **more)


def becoming(user: int) -> tuple[str, ...]:
    """The command that becomes another user."""
    return ("setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups") if user else ()


@functools.cache
def interpreter_of(user: int) -> str | None:
    """A Python of this version that a user may start, None if there is none: this environment's may lie in a home."""
    if user == 0:
        return sys.executable
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return None
    system = f"/usr/bin/python3.{sys.version_info.minor}"
    again = "import os, sys; os.execv(sys.argv[1], [sys.argv[1], '-c', ''])"
    for candidate in (sys.executable, system):
        command = [*becoming(user), candidate, "-c", again, candidate]
        if Path(candidate).exists() and subprocess.run(command, capture_output=True).returncode == 0:
            return candidate
    return None


def as_user(user: int, program: str, *, before: tuple[str, ...] = (), **more: str) -> subprocess.CompletedProcess[str]:
    """Runs a program as another user, with the packages of this environment."""
    interpreter = interpreter_of(user)
    assert interpreter is not None
    command = [*before, *becoming(user), interpreter, "-c", "import sys\n" + textwrap.dedent(program)]
    told = environment(**more)
    told["PYTHONPATH"] = os.pathsep.join(filter(None, [told["PYTHONPATH"], more.get("PYTHONPATH"), *sys.path]))
    return subprocess.run(command, env=told, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("user", USERS)
def test_vendor_cannot_change_what_another_inspects(user: int, tmp_path: Path) -> None:
    """It finds the arenas of others through /proc, where it runs unconfined, and may not write to one of them."""
    if interpreter_of(user) is None:
        pytest.skip("to become another user takes root, setpriv and a Python that it may start")
    note = tmp_path / "note"
    note.touch()
    for name, source in (("honest", HONEST), ("evil", EVIL)):
        install_algorithm(tmp_path / name, name, source)
    above = [path for path in tmp_path.parents if path.is_relative_to(tempfile.gettempdir())][:-1]
    for path in (tmp_path, note, *above):
        os.chmod(path, 0o777)  # noqa: PTH101 - for the other user
    done = as_user(
        user,
        """
        import os
        import numpy as np
        from pathlib import Path
        from procvision_runner import Runner
        bad = np.full((48, 64, 3), 255, np.uint8)
        host = [sys.executable, "-m", "procvision_host", "--isolation", "off", "--env", "NOTE", "--algo"]
        with Runner(command=[*host, "evil"]), Runner(command=[*host, "honest"]) as honest:
            lease = honest.lend(64, 48)
            lease.array[:] = 255
            verdicts = [honest.execute(lease, pid="A").verdict]
            verdicts += [honest.execute(bad, pid="A").verdict for _ in range(5)]
        print(verdicts)
        """,
        PYTHONPATH=os.pathsep.join(str(tmp_path / name) for name in ("honest", "evil")),
        NOTE=str(note),
        HOME=str(tmp_path),
    )
    assert done.stdout == f"{['NG'] * 6}\n", done.stderr
    tried = note.read_text().splitlines()
    assert sum(line.startswith("write refused /proc") for line in tried) > 5, tried[:10]
    assert sum(line.startswith("paint refused /proc") for line in tried) > 5
    assert sum(line.startswith("cut refused /proc") for line in tried) > 5
    assert not [line for line in tried if line.startswith("done")]


@pytest.mark.parametrize("make", ["Runner", "Supervisor"])
@pytest.mark.parametrize("arena_bytes", [None, 0])
def test_vendor_that_cuts_its_slot_off_ends_no_platform(make: str, arena_bytes: int | None, tmp_path: Path) -> None:
    """In the arena it is refused. A file it may cut off, under its own feet: its host's end, and no other's."""
    cutting = """
import glob, os
from procvision_sdk import BaseAlgorithm, Defect, Ng, Ok, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        picture = read_image_from_shared_memory(shared_mem_id, image_meta).copy()
        scheme, name, *_ = shared_mem_id.split(":")
        cut = 0
        for path in [f"/dev/shm/{name}"] if scheme == "shm" else glob.glob("/proc/self/fd/*"):
            try:
                if pid == "CUT" and (scheme == "shm" or "memfd:procvision" in os.readlink(path)):
                    os.truncate(path, 0)
                    cut += 1
            except OSError:
                pass
        debug = {"cut": cut, "scheme": scheme}
        bright = [Defect(1, 1, 2, 2, label="spot", score=0.9)]
        return Ng("spot", bright, debug=debug) if picture.min() > 200 else Ok(debug=debug)
"""
    install_algorithm(tmp_path, "cutting", cutting, supported_pids=["A", "CUT"])
    program = f"""
import numpy as np
from procvision_runner import CallError, Runner, RunnerOptions, Supervisor, SupervisorOptions
runner = RunnerOptions(arena_bytes={arena_bytes})
kind, options = {{
    "Runner": (Runner, runner), "Supervisor": (Supervisor, SupervisorOptions(runner=runner))
}}[{make!r}]
bad, good = np.full((1200, 1600, 3), 255, np.uint8), np.zeros((1200, 1600, 3), np.uint8)
station = kind("cutting", options=options).__enter__()
for picture in (good, bad, good, bad):
    print(station.execute(picture, pid="A").debug["scheme"], station.execute(picture, pid="A").verdict)
    try:
        print(station.execute(picture, pid="CUT").debug["cut"])
    except CallError:
        print("failed")
        if kind is Runner:
            station.stop()
            station = kind("cutting", options=options).__enter__()
station.stop()
"""
    done = as_user(0, program, PYTHONPATH=str(tmp_path))
    scheme, cut = ("shm", "failed") if arena_bytes == 0 else ("arena", "0")
    assert done.stdout.splitlines() == [f"{scheme} OK", cut, f"{scheme} NG", cut] * 2, done.stderr
    assert done.returncode == 0


def test_algorithm_that_closes_everything_gets_the_next_slot_too(tmp_path: Path) -> None:
    """The arena's descriptor is found again; it only reads, and no child and no environment has it.

    The child looks into its own folder in /proc, which it can't where it is shut in.
    """
    install_algorithm(tmp_path, "closing", CLOSING)
    with Runner("closing", options=options(tmp_path, isolation="off")) as runner:
        for number, size in enumerate((10, 300, 700, 40), 1):
            answer = runner.execute(np.full((size, size, 3), number, np.uint8), pid="A")
            assert (answer.verdict, answer.debug["mean"]) == ("OK", number)
            assert answer.debug["variable"] is None
            assert "memfd:procvision" not in answer.debug["child"]
            assert answer.debug["child"].strip(), "the child told nothing"
            assert set(answer.debug["modes"]) <= {os.O_RDONLY}


@pytest.mark.parametrize("arguments", [(), ("--no-arena",)])
@pytest.mark.parametrize("make", [Runner, Supervisor])
def test_host_after_the_reference_alone_reads_its_pictures(make: Any, arguments: tuple[str, ...]) -> None:
    """From the arena by its descriptor, or, where it knows of none, from a named segment; sizes and kinds in turn."""
    before = descriptors()
    with make(command=[*FOREIGN, *arguments]) as station:
        scheme = "shm" if arguments else "arena"
        for size in (8, 600, 30, 1200, 8):
            for level in (0, 255):
                picture = np.full((size, size, 3), level, np.uint8)
                answer = station.execute(picture, pid="A")
                assert (answer.verdict, answer.debug["scheme"]) == ("NG" if level else "OK", scheme)
        lease = station.lend(64, 48, "MONO")
        lease.array[:] = 255
        assert station.execute(lease, pid="A").verdict == "NG"
        assert bool(segments()) is bool(arguments)
    assert segments() == set()
    del station, lease
    assert wait_until(lambda: descriptors() == before)


def test_descriptor_that_is_lost_on_the_way_is_not_missed(tmp_path: Path) -> None:
    """What starts a host may close descriptors, and open other files by their numbers: named segments then."""
    install_algorithm(tmp_path, "honest", HONEST)
    for reuse in ("", "os.open('/etc/passwd', os.O_RDONLY); [os.dup2(3, n, True) for n in range(3, 64)];"):
        program = f"import os, sys; os.closerange(3, 256); {reuse} os.execv(sys.argv[1], sys.argv[1:])"
        command = [sys.executable, "-c", program, *host_command("honest")]
        with Runner(command=command, options=options(tmp_path)) as runner:
            assert [runner.execute(picture, pid="A").verdict for picture in (BAD, GOOD)] == ["NG", "OK"]
            assert len(segments()) == 1


def test_pictures_follow_a_swap_to_a_host_without_an_arena_and_back() -> None:
    """What was lent or filled before the swap is copied to where the new host reads it."""
    old, new = [*FOREIGN], [*FOREIGN, "--no-arena"]
    with Supervisor(command=old, options=SupervisorOptions()) as station:
        for command, scheme in ((new, "shm"), (old, "arena"), (new, "shm")):
            lease = station.lend(64, 48)
            lease.array[:] = 255
            dark = station.lend(64, 48)
            dark.array[:] = 0
            station.swap(command=command)
            assert station.execute(dark, pid="A").verdict == "OK"
            assert station.execute(lease, pid="A").verdict == "NG"
            answer = station.execute(BAD, pid="A")
            assert (answer.verdict, answer.debug["scheme"]) == ("NG", scheme)
        assert wait_until(lambda: station.slots.leased == 0)
    assert segments() == set()


def test_runner_within_a_host_has_an_arena_of_its_own(tmp_path: Path) -> None:
    """What it inherited of its own runner's leads nowhere. Shut in, it could start none: hosts look into /proc/self."""
    outer = """
import numpy as np
from procvision_sdk import BaseAlgorithm, Ok, read_image_from_shared_memory
from procvision_runner import Runner

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        picture = read_image_from_shared_memory(shared_mem_id, image_meta)
        with Runner("honest") as inner:
            return Ok(debug={"inner": inner.execute(255 - picture, pid="A").verdict})
"""
    install_algorithm(tmp_path / "outer", "outer", outer)
    install_algorithm(tmp_path / "inner", "honest", HONEST)
    told = environment(tmp_path / "outer", tmp_path / "inner")
    with Runner("outer", options=RunnerOptions(environment=told, isolation="off")) as runner:
        assert runner.execute(GOOD, pid="A").debug["inner"] == "NG"
        assert runner.execute(BAD, pid="A").debug["inner"] == "OK"


def may_unshare() -> bool:
    """Whether a test may have a /dev/shm of its own."""
    command = ["unshare", "-m", "true"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_unshare(), reason="a /dev/shm of its own takes the right to unshare mounts")
@pytest.mark.parametrize("owner", USERS)
def test_what_lies_in_shared_memory_stops_no_start(owner: int, tmp_path: Path) -> None:
    """A FIFO, a socket, a folder, a link, no matter who made them: with an arena and without, and the doctor."""
    if os.geteuid() != 0:
        pytest.skip("to give a file to another user takes root")
    install_algorithm(tmp_path, "honest", HONEST)
    done = as_user(
        0,
        f"""
        import os, socket, subprocess
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777,size=64m", "none", "/dev/shm"], check=True)
        os.mkfifo("/dev/shm/pv-0", 0o666)
        os.mkfifo("/dev/shm/pv-1-0123456789abcdef", 0o666)
        socket.socket(socket.AF_UNIX).bind("/dev/shm/pv-2")
        os.mkdir("/dev/shm/pv-3")
        os.symlink("/dev/zero", "/dev/shm/pv-4")
        for name in os.listdir("/dev/shm"):
            os.chown("/dev/shm/" + name, {owner}, {owner}, follow_symlinks=False)
        import numpy as np
        from procvision_runner import Runner, RunnerOptions, Supervisor, SupervisorOptions
        for arena_bytes in (None, 0):
            runner = RunnerOptions(arena_bytes=arena_bytes)
            supervisor = Supervisor("honest", options=SupervisorOptions(runner=runner))
            for station in (Runner("honest", options=runner), supervisor):
                with station:
                    print(station.execute(np.zeros((8, 8, 3), np.uint8), pid="A").verdict, flush=True)
        doctor = [sys.executable, "-m", "procvision_tools.cli.main", "doctor"]
        print(subprocess.run(doctor, stdout=subprocess.DEVNULL, timeout=60).returncode in (0, 1))
        print(sorted(os.listdir("/dev/shm")))
        """,
        before=("unshare", "-m"),
        PYTHONPATH=str(tmp_path),
    )
    names = ["pv-0", "pv-1-0123456789abcdef", "pv-2", "pv-3", "pv-4"]
    assert done.stdout.splitlines() == ["OK"] * 4 + ["True", str(names)], done.stderr


@pytest.mark.skipif(not may_unshare(), reason="a /dev/shm of its own takes the right to unshare mounts")
def test_small_shared_memory_of_a_container_does_not_matter(tmp_path: Path) -> None:
    """Pictures of 30 MB with 64 kB of /dev/shm, and with none that can be written."""
    install_algorithm(tmp_path, "honest", HONEST)
    done = as_user(
        0,
        """
        import subprocess
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "none", "/dev/shm"], check=True)
        import numpy as np
        from procvision_runner import Runner
        with Runner("honest") as runner:
            for level in (0, 255):
                print(runner.execute(np.full((2500, 4000, 3), level, np.uint8), pid="A").verdict)
        """,
        before=("unshare", "-m"),
        PYTHONPATH=str(tmp_path),
    )
    assert done.stdout.splitlines() == ["OK", "NG"], done.stderr


def test_arena_within_bounds_of_the_process() -> None:
    """Where a process may have few addresses or short files the default arena is smaller, and pictures still go."""
    for bound in ("resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30)", "resource.RLIMIT_FSIZE, (2**26, 2**26)"):
        done = as_user(
            0,
            f"""
            import resource
            resource.setrlimit({bound})
            import numpy as np
            from procvision_runner import Runner
            with Runner(command={FOREIGN!r}) as runner:
                answer = runner.execute(np.full((500, 500, 3), 255, np.uint8), pid="A")
                print(answer.verdict, answer.debug["scheme"])
            """,
        )
        assert done.stdout == "NG arena\n", done.stderr


@pytest.mark.parametrize("arena_bytes", [1, 2**20 - 1, -1])
def test_arena_without_room_for_a_picture_is_refused(arena_bytes: int) -> None:
    """When it is asked for, not when the first picture comes."""
    with pytest.raises(ValueError, match="arena_bytes"):
        RunnerOptions(arena_bytes=arena_bytes)
    assert attrs.evolve(RunnerOptions(), arena_bytes=0).arena_bytes == 0
