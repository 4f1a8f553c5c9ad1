"""The reaper: the process between host half and cell, which takes in what the cell leaves behind.

    host half ── forks ──> reaper ── forks ──> cell

A process that the algorithm left behind on purpose (a daemon: forked twice, in a session of its own, its descriptors
closed) becomes a child of the reaper. So it ends with the cell, and the cell ends with the host half:

- the cell ends: the reaper kills its other descendants, then ends as the cell did;
- the host half ends, also by SIGKILL: the reaper kills all its descendants;
- the reaper is killed: the kernel kills the cell, the host half takes in the rest and kills it.

It keeps no descriptor of the runner's, is in a process group of its own, and passes signals on to the cell.
Warning: it is forked before anything is imported and outlives updates of the files: built-in modules only.
"""

from __future__ import annotations

import os

from procvision_host.exits import ALGORITHM_FAILED
from procvision_host.process.known_state import LEAVING_SIGNALS, hear_signals
from procvision_host.process.linux import die_with_parent, kill_descendants, take_in_orphans

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import NoReturn
else:  # without the enumerations of `signal`, which take longer than all the rest
    import _signal

_PASSED_ON = (*LEAVING_SIGNALS, _signal.SIGQUIT)
_SHELLS_SIGNALS = 128
"""What a shell adds to a signal's number, for an exit status that tells of it."""


def fork_cell(guardian: int) -> None:
    """Become the reaper and fork the cell. Returns in the cell alone. `guardian` is a descriptor of the host half."""
    take_in_orphans()
    # A signal for the launched process's group (a shell's Ctrl-C, a runner's last means) leaves this one to clean up.
    os.setpgid(0, 0)
    reaper = os.getpid()
    _signal.pthread_sigmask(_signal.SIG_SETMASK, (_signal.SIGCHLD, *_PASSED_ON))  # until there are handlers
    cell = os.fork()
    if cell == 0:
        die_with_parent(reaper)
        hear_signals()
        return
    try:
        _watch(guardian, cell)
    finally:
        kill_descendants()
        os._exit(ALGORITHM_FAILED)


def _watch(guardian: int, cell: int) -> NoReturn:
    import resource  # noqa: F401 - for the end: later its file may be another version's
    from select import POLLIN, poll

    cell_fd = os.pidfd_open(cell)
    _close_all_but(guardian, cell_fd)
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    _signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in (_signal.SIGCHLD, *_PASSED_ON):
        _signal.signal(number, lambda *_: None)
    hear_signals()
    poller = poll()
    for descriptor in (guardian, cell_fd, read):
        poller.register(descriptor, POLLIN)
    while True:
        ready = dict(poller.poll())
        if ready.get(guardian):
            kill_descendants()
            os._exit(0)
        if ready.get(read):
            _pass_on(os.read(read, 256), cell_fd)
        ended = os.waitid(os.P_PID, cell, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            # The cell isn't collected yet: its number is still its own while what it started is looked for.
            kill_descendants()
            leave_as(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)
        _collect_orphans(cell)


def _close_all_but(*kept: int) -> None:
    first = 0
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def _pass_on(numbers: bytes, cell: int) -> None:
    for number in numbers:
        if number in _PASSED_ON:
            try:
                _signal.pidfd_send_signal(cell, _signal.SIGTERM if number == _signal.SIGHUP else number)
            except ProcessLookupError:
                return


def _collect_orphans(cell: int) -> None:
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid == cell:
            return
        os.waitpid(ended.si_pid, os.WNOHANG)


def leave_as(code: int) -> NoReturn:
    """End this process with a status, or by the signal that a negative one stands for."""
    if code < 0:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            if -code not in (_signal.SIGKILL, _signal.SIGSTOP):
                _signal.signal(-code, _signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        except (OSError, ValueError):
            pass
        # The first process of a container isn't ended by a signal of its own.
        code = _SHELLS_SIGNALS - code
    os._exit(code)
