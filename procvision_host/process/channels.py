"""Decides who owns which descriptor, before a vendor's code is imported.

The *guardian* is the process that was launched: it keeps the runner's descriptors and stderr, and runs nothing of a
vendor's. The *host* is its grandchild, behind the `reaper`: it gets private duplicates of stdin and stdout
for the frames, while its fd 0 is /dev/null and its fds 1 and 2 are pipes to the guardian. So `print`, `printf` in C
and child processes can't reach the frames, and what a crashing process wrote last still arrives. The arena, which the
runner hands on, is opened for reading alone in both.
Warning: all of this happens before the hello, so what is imported here is imported by every start: no `typing`.
"""

from __future__ import annotations

import os
from _thread import allocate_lock, get_native_id, start_new_thread
from fcntl import F_DUPFD_CLOEXEC, F_GETFL, F_GETSIG, F_SETPIPE_SZ, F_SETSIG, fcntl, ioctl
from os import close, fstat, read, stat, write
from os import open as os_open
from sys import byteorder
from time import monotonic, sleep

from procvision_host.exits import ALGORITHM_FAILED
from procvision_host.process.linux import take_in_orphans
from procvision_host.process.reaper import fork_cell
from procvision_sdk.wire.greeting import handed_arena, handed_runner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import NoReturn

STRAY_PATIENCE_S = 0.05
"""A guardian that doesn't get to read for so long must not hold up the answer."""
_NO_BYTES = bytes(4)
_MARK = 57
"""A real-time signal in the middle of those that nobody names."""
_OUT_OF_THE_WAY = 200
"""Where the frames' descriptors begin: above what code closes that makes itself a daemon with a small table in mind,
and never 0, 1 or 2. Below 1024, which `select` needs."""
_LOG_PIPE_BYTES = 256 * 1024
"""25 ms of a log of 10 MB/s: for so long the guardian may be kept from reading. The kernel's own is a quarter of it."""
_MENDING_ATTEMPTS = 10
"""Code that closes descriptors in one thread may close those that another has just opened."""


class GuardianEnds:
    """The descriptors that stay with the guardian."""

    __slots__ = (
        "control",
        "logs",
        "notices",
        "private",
        "runner",
        "stderr",
        "stdin",
        "stdout",
        "stray_stderr",
        "stray_stdout",
    )

    def __init__(
        self,
        runner: tuple[int, int, int],
        outputs: tuple[int, int, int],
        notices: int,
        control: int,
        private: PrivateEnds | None = None,
        runner_process: int = -1,
    ) -> None:
        self.stdin, self.stdout, self.stderr = runner
        self.logs, self.stray_stdout, self.stray_stderr = outputs
        self.notices = notices
        self.control = control
        self.private = private
        """None where the host half has nothing to do but to guard."""
        self.runner = runner_process
        """A process descriptor of the runner; -1 where it handed none on."""


class PrivateEnds:
    """The host half's descriptors of the private channel, and of the room for pictures that it opens."""

    __slots__ = ("handing", "held", "replies", "requests", "room")

    def __init__(self) -> None:
        from _socket import socketpair

        self.requests, write = os.pipe()
        read, self.replies = os.pipe()
        self.room = os.memfd_create("procvision-room", os.MFD_CLOEXEC)
        self.held = (write, read)
        """The cell's ends, until the fork. Then they are held on to, so that no pipe looks as if it had ended."""
        self.handing = socketpair()
        """The cell's end and this process's: by them a descriptor is handed over that was opened later."""

    def hand_over(self, descriptor: int) -> None:
        """In the host half: give the cell a descriptor, which is closed here. Raises OSError."""
        from _socket import SCM_RIGHTS, SOL_SOCKET

        rights = descriptor.to_bytes(4, byteorder)
        self.handing[1].sendmsg([b"\0"], [(SOL_SOCKET, SCM_RIGHTS, rights)])
        os.close(descriptor)

    def stop_handing(self) -> None:
        """In the host half: close both ends, since nothing more is handed over."""
        self.handing[0].close()
        self.handing[1].close()

    def of_the_cell(self) -> tuple[int, int, int]:
        """In the cell: its ends of the pipes, and the room, which it only reads."""
        room = os.open(f"/proc/self/fd/{self.room}", os.O_RDONLY | os.O_CLOEXEC)
        mine = (out_of_the_way(self.held[0]), out_of_the_way(self.held[1]), out_of_the_way(room))
        for descriptor in (self.requests, self.replies, self.room, room, *self.held):
            os.close(descriptor)
        self.handing[1].close()
        return mine

    def cell_is_gone(self) -> None:
        """No more questions can come: who reads them finds the end."""
        for descriptor in self.held:
            os.close(descriptor)
        self.held = (-1, -1)


def _leave_without_the_host_half() -> NoReturn:
    # The kernel ends this process too, but not at once. An answer until then would tell the algorithm's fault of a call
    # that the runner may make again in another host.
    os._exit(ALGORITHM_FAILED)


class HostEnds:
    """The descriptors that go to the host, and their recovery when a vendor's code closed or reused them.

    The guardian holds the other ends. A descriptor that isn't its pipe any more is opened again through the
    guardian's entry in /proc; nothing was lost, since pipes keep their bytes. `control` brings the guardian's
    requests and is also what wakes the host's own reader (`wake` is its other end); `notices` takes the host's.
    `arena` is -1 where the runner handed none on.

    What tells our descriptors from others that got their numbers is the signal that is set for them (F_SETSIG), which
    is never sent and which nothing else here uses: asking for it is the cheapest question that the kernel answers, and
    it is asked after every call.
    """

    __slots__ = (
        "_mending",
        "_places",
        "_reopened",
        "_sources",
        "_table",
        "arena",
        "control",
        "frames_in",
        "frames_out",
        "guardian",
        "handing",
        "logs",
        "notices",
        "replies",
        "requests",
        "room",
        "wake",
    )

    frames_in: int
    frames_out: int
    logs: int
    notices: int
    control: int
    wake: int
    arena: int
    requests: int
    replies: int
    room: int
    _NAMES = ("frames_in", "frames_out", "logs", "notices", "control", "wake", "arena", "requests", "replies", "room")
    _FLAGS = (
        os.O_RDONLY,
        os.O_WRONLY,
        os.O_WRONLY | os.O_NONBLOCK,
        os.O_WRONLY,
        os.O_RDONLY | os.O_NONBLOCK,
        os.O_WRONLY | os.O_NONBLOCK,
        os.O_RDONLY,
        os.O_WRONLY,
        os.O_RDONLY,
        os.O_RDONLY,
    )

    def __init__(self, guardian: int, descriptors: tuple[int, ...], sources: tuple[int, ...]) -> None:
        self.guardian = guardian
        self._table: str | None = f"/proc/{guardian}/fd"
        self._sources = sources
        self._reopened = False
        self._mending = allocate_lock()
        self._places: list[int] = []
        self.handing: socket | None = None
        """By which the host half hands a descriptor over; None where there is no host half, and afterwards."""
        for place, (name, descriptor) in enumerate(zip(self._NAMES, descriptors, strict=False)):
            setattr(self, name, descriptor)
            if descriptor >= 0:  # the runner may have handed no arena on
                self._places.append(place)
                fcntl(descriptor, F_SETSIG, _MARK)

    def keep_here(self, unshare_files: Callable[[], object]) -> None:
        """Mend from this process alone, which may not look into the guardian any more.

        A thread that only waits keeps a table of descriptors of its own, made by `unshare_files`: what an algorithm
        closes is closed in the other table. Where `unshare_files` raises OSError, as in a container whose seccomp
        profile refuses it, nothing is mended: what is closed is gone. Raises what else it raises.
        """
        ready, for_ever = allocate_lock(), allocate_lock()
        ready.acquire()
        for_ever.acquire()
        outcome: list[object] = []

        def keep() -> None:
            try:
                unshare_files()
                outcome.append(get_native_id())
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                outcome.append(error)
                ready.release()
                return
            ready.release()
            for_ever.acquire()

        start_new_thread(keep, ())
        ready.acquire()
        (told,) = outcome
        if isinstance(told, OSError):
            self._table = None
            return
        if isinstance(told, BaseException):
            raise told
        self._table = f"/proc/self/task/{told}/fd"
        self._sources = tuple(getattr(self, name, -1) for name in self._NAMES)

    def verify(self) -> bool:
        """Check the frames' descriptors. Return False if any had to be opened again since the last check."""
        try:
            if (
                fcntl(self.frames_in, F_GETSIG) == _MARK
                and fcntl(self.frames_out, F_GETSIG) == _MARK
                and not self._reopened
            ):
                return True
        except OSError:
            pass
        self.mend()
        return False

    def mend(self) -> bool:
        """Check every descriptor. Return True if any had to be opened again since the last check, by either thread."""
        self._reopen()
        reopened, self._reopened = self._reopened, False
        return reopened

    def _reopen(self) -> None:
        # What watches the descriptors learns of it at the next `verify` or `mend`: a log line may be what finds out.
        with self._mending:
            for _ in range(_MENDING_ATTEMPTS):
                lost = self._lost()
                if not lost:
                    return
                self._reopened = True
                for place in lost:
                    try:
                        setattr(self, self._NAMES[place], self._opened(place))
                    except OSError:
                        continue  # Closed between two lines of ours: once more.

    def _lost(self) -> list[int]:
        """Return the places of the descriptors that are closed, a vendor's file, or another of ours."""
        lost: list[int] = []
        met: set[int] = set()
        for place in self._places:
            name = self._NAMES[place]
            descriptor: int = getattr(self, name)
            if descriptor in met or not self._is(descriptor, place):
                lost.append(place)
            met.add(descriptor)
        return lost

    def _is(self, descriptor: int, place: int) -> bool:
        """Tell whether a descriptor leads to where this one of ours does. The mark alone could be another one's."""
        try:
            if fcntl(descriptor, F_GETSIG) != _MARK:
                return False
            if self._table is None:
                return True
            there, here = stat(self._path(place)), fstat(descriptor)  # noqa: PTH116 - no pathlib before the hello
            mode = fcntl(descriptor, F_GETFL) & os.O_ACCMODE
        except OSError:
            return False
        same_file = (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
        # What the runner gave may be open both ways; of our own pipes the two ends are to be told apart.
        return same_file and mode in (self._FLAGS[place] & os.O_ACCMODE, os.O_RDWR)

    def _opened(self, place: int) -> int:
        if self._table is None:
            raise OSError("it can't be opened again: whatever has its number now may be the algorithm's")
        low = os_open(self._path(place), self._FLAGS[place] | os.O_CLOEXEC)
        descriptor = out_of_the_way(low)
        close(low)
        fcntl(descriptor, F_SETSIG, _MARK)
        return descriptor

    def _path(self, place: int) -> str:
        return f"{self._table}/{self._sources[place]}"

    def arena_descriptor(self) -> int:
        """Give the arena's descriptor, opened again where the algorithm closed it; never a file of the algorithm's."""
        if not self._is(self.arena, self._NAMES.index("arena")):
            self._reopen()
        return self.arena

    def notify_guardian(self, notice: bytes) -> None:
        """Send the guardian a byte. Never write to a vendor's file that got the descriptor's number."""
        if not self._is_ours(self.notices):
            self._reopen()
        write(self.notices, notice)

    def wake_reader(self, request: bytes) -> None:
        """Wake the thread that reads the frames. `request` is DRAIN_REQUEST, or anything else to only wake it."""
        if not self._is_ours(self.wake):
            self._reopen()
        try:
            write(self.wake, request)
        except BlockingIOError:
            return  # A full pipe wakes its reader anyway.

    def write_log(self, data: bytes) -> int:
        """Give as much of a line to the guardian as there is room for. Raises OSError if there is none."""
        if not self._is_ours(self.logs):
            self._reopen()
        return write(self.logs, data)

    def write_request(self, data: bytes) -> None:
        """Write a question for the host half."""
        rest = memoryview(data)
        while rest:
            if not self._is_ours(self.requests):
                self._reopen()
            try:
                rest = rest[write(self.requests, rest) :]
            except BrokenPipeError:
                _leave_without_the_host_half()

    def read_reply(self, most: int) -> bytes:
        """Wait for a part of the host half's answer, and return it."""
        if not self._is_ours(self.replies):
            self._reopen()
        data = read(self.replies, most)
        if not data:
            _leave_without_the_host_half()
        return data

    def handed_over(self) -> int:
        """Return the descriptor that the host half has handed over, out of the way. Raises OSError."""
        from _socket import CMSG_SPACE, SOL_SOCKET

        handing, self.handing = self.handing, None
        if handing is None:
            raise OSError("nothing is handed over twice")
        try:
            handing.setblocking(False)
            _, messages, _, _ = handing.recvmsg(1, CMSG_SPACE(4))
        finally:
            handing.close()
        for level, _, data in messages:
            if level == SOL_SOCKET and len(data) == 4:
                low = int.from_bytes(data, byteorder)
                descriptor = out_of_the_way(low)
                close(low)
                return descriptor
        raise OSError("nothing was handed over")

    def nothing_is_handed_over(self) -> None:
        """Close the end by which something could be."""
        handing, self.handing = self.handing, None
        if handing is not None:
            handing.close()

    def picture_room(self) -> int:
        """Return the descriptor of the memory into which the host half puts pictures."""
        if not self._is_ours(self.room):
            self._reopen()
        return self.room

    def _is_ours(self, descriptor: int) -> bool:
        try:
            return fcntl(descriptor, F_GETSIG) == _MARK
        except OSError:
            return False


def _widen(log_pipe: int) -> None:
    try:
        fcntl(log_pipe, F_SETPIPE_SZ, _LOG_PIPE_BYTES)
    except OSError:
        return  # This user's pipes take as much as they may.


def out_of_the_way(descriptor: int) -> int:
    """Return a duplicate with a high number, if the process's limit allows it."""
    try:
        return fcntl(descriptor, F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)
    except OSError:
        return fcntl(descriptor, F_DUPFD_CLOEXEC, 3)


def inherited_arena() -> int:
    """Give the descriptor of the arena that this process was handed, out of the way; -1 if it was handed none.

    Children of this process don't get it.
    """
    return _inherited(handed_arena())


def _inherited(inherited: int) -> int:
    if inherited < 0:
        return -1
    try:
        descriptor = out_of_the_way(inherited)
        close(inherited)
    except OSError:
        return -1
    return descriptor


def wait_for_stray_output() -> None:
    """Wait until the guardian has read what this process wrote to stdout, so that it knows the call it belongs to.

    Costs one question where nothing was written, which is the rule.
    """
    from termios import FIONREAD  # not before the hello

    waiting = bytearray(4)
    try:
        ioctl(1, FIONREAD, waiting)
        if waiting == _NO_BYTES:
            return
        deadline = monotonic() + STRAY_PATIENCE_S
        while waiting != _NO_BYTES and monotonic() < deadline:
            sleep(0.0001)
            ioctl(1, FIONREAD, waiting)
    except OSError:
        return  # Its fd 1 is the algorithm's own doing.


HELLO_NOTICE = b"H"
"""Host to guardian: the hello is written. Until then the guardian takes no time of the processor that it needs."""
DRAIN_NOTICE = b"D"
"""Host to guardian: the drain began, the watchdog's time runs from now."""
DRAIN_REQUEST = b"T"
"""Guardian to host: leave, the process was asked to (SIGTERM, SIGINT)."""


def split(run_guardian: Callable[[int, GuardianEnds], None], *, private: bool = False) -> HostEnds:
    """Fork. Returns in the host. In the guardian, `run_guardian(reaper's process id, ends)` runs and never returns.

    `private` says whether the two have a private channel.
    """
    stdin, stdout = out_of_the_way(0), out_of_the_way(1)
    try:
        stderr = out_of_the_way(2)
    except OSError:
        # Launched without one: nobody wants the log.
        stderr = out_of_the_way(os.open(os.devnull, os.O_WRONLY))
    arena = inherited_arena()
    runner_process = _inherited(handed_runner())
    logs_read, logs_write = os.pipe()
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    notices_read, notices_write = os.pipe()
    control_read, control_write = os.pipe()
    ours = PrivateEnds() if private else None
    guardian = os.getpid()
    own = os.pidfd_open(guardian)
    take_in_orphans()  # of a reaper that is killed
    reaper = os.fork()
    if reaper:
        os.close(own)
        # Its own 0, 1 and 2 would keep the runner's pipes open once more.
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        if ours is not None:  # what hook plugins print becomes lines of the log
            os.dup2(out_write, 1)
            os.dup2(err_write, 2)
        # The end of this pipe, for as long as it is needed, tells that there is no host any more.
        os.close(notices_write)
        os.read(notices_read, 1)
        # Otherwise the pipes' other ends are open here too: where the algorithm closes the host's, nothing that is in a
        # pipe is lost, and none of them looks as if it had ended.
        os.open(f"/proc/self/fd/{notices_read}", os.O_WRONLY | os.O_CLOEXEC)
        # The algorithm may take out of a pipe what it has put in, or fill the one that it reads: neither may stop this
        # process. Opened once more, the write end is this one's alone, and stays as it is.
        for descriptor in (logs_read, out_read, err_read, notices_read):
            os.set_blocking(descriptor, False)
        own = os.open(f"/proc/self/fd/{control_write}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.dup2(own, control_write, inheritable=False)
        os.close(own)
        run_guardian(
            reaper,
            GuardianEnds(
                (stdin, stdout, stderr),
                (logs_read, out_read, err_read),
                notices_read,
                control_write,
                ours,
                runner_process,
            ),
        )
        os._exit(ALGORITHM_FAILED)  # pragma: no cover - the guardian leaves by itself
    fork_cell(own)
    for descriptor in (stderr, logs_read, out_read, err_read, notices_read, own, runner_process):
        if descriptor >= 0:
            os.close(descriptor)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    for source, target in ((out_write, 1), (err_write, 2)):
        os.dup2(source, target)
        os.close(source)
    # A full log pipe loses a line; it never stops the host.
    os.set_blocking(logs_write, False)
    _widen(logs_write)
    os.set_blocking(control_read, False)
    os.set_blocking(control_write, False)
    ends = HostEnds(
        guardian,
        (
            *(stdin, stdout, logs_write, notices_write, control_read, control_write, arena),
            *(ours.of_the_cell() if ours else ()),
        ),
        (
            *(stdin, stdout, logs_read, notices_read, control_write, control_write, arena),
            *((ours.requests, ours.replies, ours.room) if ours else ()),
        ),
    )
    if ours is not None:
        ends.handing = ours.handing[0]
    return ends
