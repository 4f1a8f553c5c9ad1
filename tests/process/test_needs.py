"""What an algorithm needs beyond its picture: granted it works, and nothing beside it does; refused it has a name."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from peer_plugins import environment, install_algorithm

from procvision_host.sandbox.grants import granted
from procvision_host.sandbox.refusals import Refusals
from procvision_runner import CallFailedError, LaunchError, Runner, RunnerOptions
from procvision_sdk.manifest.needs import parse_need

ALGORITHM = """
import os, socket, subprocess, sys
from procvision_sdk import BaseAlgorithm, Ok

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        names = dict(globals())
        exec(session.context["code"], names)
        return Ok(message=str(names.get("out", "")))
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation is Linux's")


@contextmanager
def server(address: str = "127.0.0.1") -> Iterator[int]:
    """Something that answers on a TCP port."""
    with socket.create_server((address, 0)) as listening:

        def answer() -> None:
            while True:
                try:
                    one, _ = listening.accept()
                except OSError:
                    return
                with one:
                    one.sendall(b"hello")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


class Needing:
    """A runner of an algorithm that does what it is told, with what it needs and gets."""

    def __init__(self, folder: Path, needs: dict[str, str], grants: tuple[str, ...] = (), **options: Any) -> None:
        folder = folder / f"installed-{len(list(folder.glob('installed-*')))}"
        folder.mkdir()
        installed = environment(install_algorithm(folder, "needing", ALGORITHM, needs=needs, reads_picture=False))
        given: dict[str, Any] = {"isolation": "strict", "ready_timeout_s": 60.0} | options
        self.runner = Runner("needing", options=RunnerOptions(environment=installed, grants=grants, **given))

    def __enter__(self) -> Needing:
        self.runner.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.stop()

    def does(self, code: str) -> str:
        """What came of it."""
        session = self.runner.session({"code": code})
        return self.runner.execute(None, pid="A", session=session, timeout_s=60.0).message

    def refused(self, code: str) -> str:
        """The error of the call that it ended with."""
        with pytest.raises(CallFailedError) as caught:
            self.does(code)
        return str(caught.value)


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it comes true in ten seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def connecting(port: int, address: str = "127.0.0.1") -> str:
    """Code that reads what a server says."""
    return f"out = socket.create_connection(({address!r}, {port}), 5).recv(9).decode()"


def test_a_granted_connection_works_and_no_other_does(tmp_path: Path) -> None:
    """Not to another port, not by another protocol, not the other way round; also not from a child."""
    with server() as granted, server() as beside:
        need = f"network:127.0.0.1:{granted}"
        with Needing(tmp_path, {need: "it asks the controller"}, (need,)) as algorithm:
            assert algorithm.does(connecting(granted)) == "hello"
            child = f"import socket; socket.create_connection(('127.0.0.1', {beside}), 5)"
            for code in (
                connecting(beside),
                "socket.create_server(('127.0.0.1', 0))",
                "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
                "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)",  # MPTCP, which Landlock knows nothing of
                "socket.socket(socket.AF_UNIX)",
                "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
                f"socket.socket().sendto(b'x', socket.MSG_FASTOPEN, ('127.0.0.1', {beside}))",
                f"socket.socket().sendmsg([b'x'], [], socket.MSG_FASTOPEN, ('127.0.0.1', {beside}))",
                "import fcntl; fcntl.ioctl(socket.socket(), 0x8912, bytes(40))",
            ):
                assert "PermissionError" in algorithm.refused(code), code
            assert algorithm.does(f"out = subprocess.run([sys.executable, '-c', {child!r}]).returncode") == "1"


WITHOUT_BLOCKING = """
import select
one = socket.socket(); one.setblocking(False)
try: one.connect(('127.0.0.1', {port}))
except BlockingIOError: pass
assert select.select([], [one], [], 10)[1] and one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
one.settimeout(10); out = one.recv(9).decode()
"""
RACE = """
import ctypes, struct, threading
libc, stop = ctypes.CDLL(None, use_errno=True), threading.Event()
good, bad = (struct.pack("=H", 2) + struct.pack(">H", port) + bytes([127, 0, 0, n]) + bytes(8) for n, port in {both})
address = ctypes.create_string_buffer(good, 16)
def flip():
    while not stop.is_set():
        address[:] = bad; address[:] = good
thread = threading.Thread(target=flip); thread.start()
reached = []
for _ in range(200):
    one = socket.socket()
    if libc.connect(one.fileno(), address, 16) == 0: reached.append(one.getpeername())
    one.close()
stop.set(); thread.join()
out = sorted(set(reached))
"""


def test_a_granted_connection_goes_to_its_address_alone(tmp_path: Path) -> None:
    """Landlock knows the port only; a broker outside knows the address, and nobody changes it after its look."""
    with server("127.0.0.1") as port, socket.create_server(("127.0.0.2", port)):
        need = f"network:127.0.0.1:{port}"
        with Needing(tmp_path, {need: "it asks the controller"}, (need,)) as algorithm:
            assert algorithm.does(connecting(port)) == "hello"
            assert algorithm.does(WITHOUT_BLOCKING.format(port=port)) == "hello"
            assert algorithm.does(f"socket.socket(socket.AF_INET6).connect(('::ffff:127.0.0.1', {port}))") == ""
            text = algorithm.refused(connecting(port, "127.0.0.2"))
            assert f"needs network to 127.0.0.2:{port}, which its manifest doesn't declare" in text
            assert "PermissionError" in algorithm.refused(
                f"socket.socket(socket.AF_INET6).connect(('::ffff:127.0.0.2', {port}))"
            )
            race = RACE.format(both=[(1, port), (2, port)])
            assert algorithm.does(race) in ("[]", f"[('127.0.0.1', {port})]")
            assert algorithm.does("try: os.wait()\nexcept ChildProcessError: out = 'no child'") == "no child"
            (broker,) = siblings(algorithm.runner.process_id)
            os.kill(broker, signal.SIGKILL)
            assert "OSError" in algorithm.refused(connecting(port))
            assert algorithm.does("out = 1") == "1"


def siblings(process: int | None) -> list[int]:
    """The other children of a process's parent."""

    def parent(one: int | None) -> int | None:
        with contextlib.suppress(OSError):
            return int(Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[1])
        return None

    own = parent(process)
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [one for one in found if one != process and parent(one) == own]


def test_a_connection_that_was_not_granted_is_named(tmp_path: Path) -> None:
    """In the error of the call and in the log, with how to grant it."""
    with server() as port:
        need = f"network:127.0.0.1:{port}"
        with Needing(tmp_path, {need: "it asks the controller"}) as algorithm:
            text = algorithm.refused(connecting(port))
            told = f"needing needs network to 127.0.0.1:{port}, which isn't granted; hint: grant it by --grant {need}"
            assert told in text
            # When it started, and when it was refused; the log comes on a way of its own.
            assert eventually(lambda: sum(told in record["message"] for record in algorithm.runner.logs) == 2)


def test_a_granted_folder_is_read_or_written_and_none_beside_it(tmp_path: Path) -> None:
    """By its name in the manifest."""
    for name in ("models", "out", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    needs = {f"read:{tmp_path}/models": "its model", f"write:{tmp_path}/out": "its counts"}
    with Needing(tmp_path, needs | {f"read:{tmp_path}/other": "curious"}, tuple(needs)) as algorithm:
        assert algorithm.does(f"out = open('{tmp_path}/models/a').read()") == "models"
        assert algorithm.does(f"out = open('{tmp_path}/out/b', 'w').write('x')") == "1"
        text = algorithm.refused(f"open('{tmp_path}/models/a', 'w')")
        assert f"needs to write {tmp_path}/models/a, which its manifest doesn't declare" in text
        text = algorithm.refused(f"open('{tmp_path}/other/a')")
        assert f"needs to read {tmp_path}/other, which isn't granted" in text
        assert f"--grant read:{tmp_path}/other" in text
        assert "which its manifest doesn't declare" in algorithm.refused(f"os.listdir({str(Path.home())!r})")


def test_a_granted_device_is_opened_and_no_other(tmp_path: Path) -> None:
    """A terminal's, which each Linux has and a cell hasn't."""
    with Needing(tmp_path, {"device:/dev/nvidia*": "a network"}) as algorithm:
        text = algorithm.refused("os.open('/dev/ptmx', os.O_RDWR)")
        assert "needs the device /dev/ptmx, which its manifest doesn't declare" in text
    need = "device:/dev/ptm*"
    assert stat.S_ISCHR(Path("/dev/ptmx").stat().st_mode)
    with Needing(tmp_path, {need: "a lamp"}, (need,)) as algorithm:
        assert algorithm.does("out = os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY) > 2") == "True"
        assert "PermissionError" in algorithm.refused("os.open('/dev/console', os.O_RDWR)")


def test_memory_is_bounded_and_granted_by_name(tmp_path: Path) -> None:
    """The bound of `strict` isn't the machine's."""
    code = "out = len(bytearray({} * 1000 * 1000))"
    with Needing(tmp_path, {"memory:4600MB": "a large model"}) as algorithm:
        assert "needs more memory than 4000 MB" in algorithm.refused(code.format(4100))
        mapped = "import mmap; mmap.mmap(-1, 4_100_000_000, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)"
        assert "needs more memory than 4000 MB" in algorithm.refused(mapped)
        assert algorithm.does("out = 1") == "1"
    with Needing(tmp_path, {"memory:4600MB": "a large model"}, ("memory:4600MB",)) as algorithm:
        # Reserved, and not touched: the machine needn't have it.
        assert algorithm.does("import mmap; out = len(mmap.mmap(-1, 4_100_000_000, 0x22))") == "4100000000"


def test_other_amounts_that_are_used_up_are_named(tmp_path: Path) -> None:
    """Files that are open, the size of one, the room of its own folder, the files in it."""
    with Needing(tmp_path, {}) as algorithm:
        many = "kept = []\ntry:\n while True: kept.append(os.open('/dev/null', 0))\nfinally: [*map(os.close, kept)]"
        assert "has 4096 files open, and may open no more" in algorithm.refused(many)
        home = "os.truncate(os.open(os.environ['HOME'] + '/a', 66), {})"
        assert "a file of more than 1 GiB, which nobody is granted" in algorithm.refused(home.format(1 << 31))
        if algorithm.does("out = os.environ['HOME']").startswith("/dev/shm"):
            room = home.format(0) + "\nos.posix_fallocate(os.open(os.environ['HOME'] + '/a', 66), 0, 600 << 20)"
            assert "more room than the 512 MB and 131072 files of its own folder" in algorithm.refused(room)
            assert int(algorithm.does("out = os.statvfs('/dev/shm').f_files")) == 131072
        assert algorithm.does("out = 1") == "1"


def test_processes_are_granted_by_name() -> None:
    """Where they are bounded, for an ordinary user in a user namespace of its own; what ran out of them is named."""
    given = granted([parse_need("processes:600")])
    assert (given.processes, granted([]).processes) == (600, 512)
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    refusals = Refusals(given)
    assert refusals.explained(BlockingIOError(11, "Resource temporarily unavailable")) == ""
    assert "needs more memory than 4000 MB" in refusals.explained(RuntimeError("can't start new thread"))
    for error in (BlockingIOError(11, "Resource temporarily unavailable"), RuntimeError("can't start new thread")):
        resource.setrlimit(resource.RLIMIT_NPROC, (600, hard))
        try:
            assert "needs more processes and threads than 600" in refusals.explained(error)
        finally:
            resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))


@pytest.mark.parametrize(
    ("needs", "grants", "told"),
    [
        ({}, ("read:/usr/share",), r"needing 1.2.3 doesn't ask for read:/usr/share.*its manifest needs nothing"),
        ({"read:/a": ""}, ("read:/b",), r"doesn't ask for read:/b.*its manifest needs read:/a|isn't there"),
        ({"read:/nowhere": ""}, ("read:/nowhere",), "read:/nowhere is granted, and it isn't there"),
        ({"device:/dev/none": ""}, ("device:/dev/none",), "there is no such device"),
    ],
)
def test_a_grant_that_cannot_be_given_stops_the_launch(
    needs: dict[str, str], grants: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    """What was granted beyond what is asked for is somebody's mistake."""
    with pytest.raises(LaunchError, match=told) as caught, Needing(tmp_path, needs, grants):
        pass
    assert caught.value.error_code == "1010"


def test_a_link_of_the_algorithms_own_leads_nowhere(tmp_path: Path) -> None:
    """A folder that it may write can't become what another of its grants stands for."""
    (tmp_path / "out").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "out" / "models").symlink_to(tmp_path / "secret")
    (tmp_path / "by-way-of").symlink_to(tmp_path / "out" / "models")
    for path in ("out/models", "by-way-of"):
        needs = (f"write:{tmp_path}/out", f"read:{tmp_path}/{path}")
        with (
            pytest.raises(LaunchError, match="may be a link of its own"),
            Needing(tmp_path, dict.fromkeys(needs, ""), needs),
        ):
            pass


def test_grants_of_a_configuration_count(tmp_path: Path) -> None:
    """Beside those of the command line, and wrong ones stop the launch."""
    config = tmp_path / "host.toml"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a").write_text("model")
    need = f"read:{tmp_path}/models"
    config.write_text(f'grants = ["{need}"]\n')
    arguments = ("--config", str(config))
    with Needing(tmp_path, {need: "its model"}, host_arguments=arguments) as algorithm:
        assert algorithm.does(f"out = open('{tmp_path}/models/a').read()") == "model"
        assert "PermissionError" in algorithm.refused(f"open({str(config)!r})")
    config.write_text('grants = ["models"]\n')
    with (
        pytest.raises(LaunchError, match="the configuration's grants: 'models' is no need"),
        Needing(tmp_path, {need: "its model"}, host_arguments=arguments),
    ):
        pass


def test_a_refusal_in_setup_is_named(tmp_path: Path) -> None:
    """The launch fails with it."""
    source = ALGORITHM + "    def setup(self):\n        open('/etc/shadow')\n"
    installed = environment(install_algorithm(tmp_path, "needing", source, needs={"read:/etc/shadow": "curious"}))
    options = RunnerOptions(environment=installed, isolation="strict", ready_timeout_s=60.0)
    with pytest.raises(LaunchError, match="needs to read /etc/shadow, which isn't granted"):
        Runner("needing", options=options).start()


IN_C = """
import ctypes, sqlite3
libc = ctypes.CDLL(None, use_errno=True)
class LibraryError(Exception):
    pass
def fopen(path, mode):
    if not libc.fopen(path, mode):
        libc.strerror.restype = ctypes.c_char_p
        return libc.strerror(ctypes.get_errno()).decode()
"""


def test_what_a_library_in_c_was_refused_is_named_where_an_exception_tells_of_it(tmp_path: Path) -> None:
    """By the path in its text, which is held against what can be opened; by the C library's words for all else."""
    model, folder = tmp_path / "my model.bin", tmp_path / "out"
    model.write_text("x")
    folder.mkdir()
    with Needing(tmp_path, {f"write:{folder}": "its counts"}) as algorithm:

        def raised(code: str) -> str:
            return algorithm.refused(IN_C + code)

        # The words are the library's own, and say nothing of rights.
        text = raised(f"fopen(b'{model}', b'r') and (_ for _ in ()).throw(LibraryError('no model in \"{model}\"'))")
        assert f"needing needs to read {model}, which its manifest doesn't declare" in text
        text = raised(f"raise LibraryError('{folder}/a.h5: ' + fopen(b'{folder}/a.h5', b'w'))")
        assert f"needing needs to write {folder}, which isn't granted; hint: grant it by --grant write:{folder}" in text
        code = (
            "s = libc.socket(2, 1, 0)\nraise LibraryError(f'licence server: errno {ctypes.get_errno()}, no connection')"
        )
        assert "needing needs the network; hint: declare in manifest.json" in raised(code)
        assert "may have been refused something by isolation strict" in raised(f"sqlite3.connect('{folder}/a.db')")
        child = f"subprocess.run(['cat', '{model}'], check=True, capture_output=True)"
        assert f"needing needs to read {model}" in raised(child)
        # What isn't there, and what may be read, was not refused.
        for path in (f"{tmp_path}/none", os.__file__):
            assert "needing" not in raised(f"raise LibraryError('no model in {path}')")


def test_what_a_library_in_c_or_a_program_complains_of_is_explained_in_the_log(tmp_path: Path) -> None:
    """Also where the call goes on as if nothing was, as OpenCV does; the log isn't filled with it."""
    with Needing(tmp_path, {}) as algorithm:

        def told(text: str) -> int:
            return sum(text in record["message"] for record in algorithm.runner.logs)

        def explained() -> int:
            return told("the output before may tell of what isolation strict refused")

        assert algorithm.does("subprocess.run(['cat', '/etc/shadow'])") == ""
        assert eventually(lambda: explained() == 1)
        for done in range(1, 5):
            assert algorithm.does(IN_C + "fopen(b'/etc/shadow', b'r'); libc.perror(b'/etc/shadow')") == ""
            # Else a busy machine gathers what two calls wrote into one record.
            assert eventually(lambda done=done: told("output on stderr") == done + 1)  # type: ignore[misc]
        assert eventually(lambda: explained() == 3)
    with Needing(tmp_path, {}, isolation="basic") as algorithm:
        # What its user may not, isolation did not refuse: no grant would help.
        assert "needs" not in algorithm.refused("raise ValueError('no model in /proc/1/environ: Permission denied')")
        assert algorithm.does("subprocess.run(['cat', '/proc/1/environ'])") == ""
        assert eventually(lambda: any("output on stderr" in record["message"] for record in algorithm.runner.logs))
        assert explained() == 0


def test_grants_have_the_form_of_needs() -> None:
    """A mistake is found where the options are made."""
    assert RunnerOptions(grants=("read:/srv/",)).grants == ("read:/srv",)
    with pytest.raises(ValueError, match="is no need"):
        RunnerOptions(grants=("plc",))
    with pytest.raises(TypeError):
        RunnerOptions(grants="read:/srv")
