"""Other programs that are run to their end: bounded in time, and ended with all that they started.

They end with this process, too, also where it is killed: nobody would wait for them, and what they write is in the way
of the next command.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence

_PR_SET_PDEATHSIG = 1


def run_tool(
    command: Sequence[str], environment: Mapping[str, str], timeout_s: float, held: Sequence[int] = ()
) -> subprocess.CompletedProcess[bytes]:
    """Run a program without a terminal and give what it said.

    ``held`` are descriptors that it and what it starts keep: a lock on one lasts until all of them have ended. Whatever
    ends the wait, Ctrl-C too, ends the program and what it started in its session. Raises subprocess.TimeoutExpired,
    and OSError where it can't be started.
    """
    with subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        pass_fds=tuple(held),
        preexec_fn=_ends_with(os.getpid()),  # noqa: PLW1509 - it calls one function of C
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _ends_with(parent: int) -> Callable[[], None]:
    prctl = ctypes.CDLL(None).prctl

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return in_child
