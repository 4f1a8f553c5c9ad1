"""Sets up the host's own process: its signals, standard streams, forks, memory and end."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import io
import os
import sys
import threading
import time
from os import _exit
from typing import TYPE_CHECKING, NoReturn, TextIO

from procvision_host.process.channels import DRAIN_REQUEST

if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from procvision_host.process.channels import HostEnds
    from procvision_host.process.shared_page import SharedPage
else:  # without the enumerations of `signal`, which nothing here needs
    import _signal

_LEAVING_SIGNALS = (_signal.SIGTERM, _signal.SIGINT)
EXIT_FUNCTIONS_S = 2.0
"""How long what was registered for the exit of the process may take."""
_THRESHOLDS = gc.get_threshold()
_NEVER = 1 << 30
"""So many objects are never made between two looks."""
_LARGEST_KEPT_BYTES = 31 << 20
"""Just below 32 MiB, the most that glibc learns to keep (mallopt(3), M_MMAP_THRESHOLD)."""


def prepare(ends: HostEnds) -> None:
    """Prepare this process for a vendor's code."""

    # The guardian, which is who gets the signals, asks over a pipe; these are for signals sent to the host itself.
    def ask_to_leave(*_: object) -> None:
        with contextlib.suppress(OSError):
            ends.wake_reader(DRAIN_REQUEST)

    for number in _LEAVING_SIGNALS:
        _signal.signal(number, ask_to_leave)
    # The handler has to wait for the main thread; this reaches the reader also while that is busy in C.
    _signal.set_wakeup_fd(ends.wake, warn_on_full_buffer=False)
    faulthandler.enable(file=2)
    # Stacks of a hung process on SIGQUIT, written by C code that needs no interpreter lock.
    faulthandler.register(_signal.SIGQUIT, file=2, all_threads=True)
    # What an algorithm prints leaves at once, also without a newline and before a crash, and no character of it can
    # raise. The streams are made anew: the old ones remember what kind of file their descriptors were before.
    sys.stdout, sys.stderr = unbuffered_stream(1), unbuffered_stream(2)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Make the C library keep what is freed for what is allocated next, twice the largest block at most.

    glibc's gives each large array back to the kernel and takes the next one anew, page by page, which costs more than
    most of what is done with it: until it has seen one of about that size freed. This one is never touched, so it takes
    up no memory.
    """
    with contextlib.suppress(MemoryError):  # less than that is allowed: then nothing so large will be asked for
        bytes(_LARGEST_KEPT_BYTES)


def unbuffered_stream(descriptor: int) -> TextIO:
    """Return a stream whose text leaves at once, and of which no character can raise."""
    raw = io.FileIO(descriptor, "wb", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


def watch_forks(became_copy: Callable[[], None]) -> None:
    """Call `became_copy` in each child that is forked. A signal for the child doesn't make the host leave."""
    masks = threading.local()

    # From the fork until its handlers are set a child shares the host's wake-up pipe: signals wait for so long.
    def hold() -> None:
        masks.before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _LEAVING_SIGNALS)

    def let_go() -> None:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, masks.before)

    def begin_as_copy() -> None:
        became_copy()
        with contextlib.suppress(ValueError):
            _signal.set_wakeup_fd(-1)
            for number in _LEAVING_SIGNALS:
                _signal.signal(number, _signal.SIG_DFL)
        let_go()

    os.register_at_fork(before=hold, after_in_parent=let_go, after_in_child=begin_as_copy)


def import_uncollected() -> None:
    """Keep the collector from running while the algorithm's modules are imported: what they make stays anyway.

    The collector is on as far as the algorithm can see, and what it sets of it holds.
    """
    gc.set_threshold(_NEVER)
    gc.enable()


def collect_from_here() -> None:
    """Collect garbage again, of what is made from here on: what is imported by now stays."""
    gc.freeze()
    if gc.get_threshold()[0] == _NEVER:
        gc.set_threshold(*_THRESHOLDS)


def settle_memory() -> None:
    """Hide what is loaded by now, libraries and models, from the garbage collector.

    It stays for the process's life; walking it again and again would only make single calls late.
    """
    gc.collect()
    gc.freeze()


def leave(status: int, board: SharedPage) -> NoReturn:
    """End the process without waiting for threads or processes that an algorithm left behind.

    What was registered for the exit has its time: `multiprocessing` waits there for children, which may never end.
    """

    def end() -> None:
        time.sleep(EXIT_FUNCTIONS_S)
        board.leaves()
        _exit(status)

    with contextlib.suppress(BaseException):
        threading.Thread(target=end, name="procvision-end", daemon=True).start()
    # In the interpreter's own order: pools of processes and threads are told of the end before what waits for them.
    for end_pool in reversed(getattr(threading, "_threading_atexits", ())):
        with contextlib.suppress(BaseException):
            end_pool()
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    board.leaves()
    _exit(status)
