"""How it fails: exceptions of every kind, the end of the process, and never returning."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
from pathlib import Path

from procvision_sdk import FatalError, GPUOutOfMemoryError, Ok, ProgramError, RecoverableError


class UnprintableError(Exception):
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class UnusualError(BaseException):
    pass


def raise_recoverable(algorithm, **call):
    raise RecoverableError("the lamp flickers", detail={"lamp": 3})


def raise_fatal(algorithm, **call):
    raise FatalError("the camera's driver is gone")


def raise_gpu(algorithm, **call):
    raise GPUOutOfMemoryError("2 GiB asked for")


def raise_program(algorithm, **call):
    raise ProgramError("no such template", error_code="1003", detail=object())


def raise_plain(algorithm, **call):
    return {}["missing"]


def raise_unprintable(algorithm, **call):
    raise UnprintableError


def raise_unusual(algorithm, **call):
    raise UnusualError("no Exception")


def raise_system_exit(algorithm, count, **call):
    sys.exit(count)


def raise_keyboard_interrupt(algorithm, **call):
    raise KeyboardInterrupt


def raise_generator_exit(algorithm, **call):
    raise GeneratorExit


def raise_too_deep(algorithm, **call):
    return raise_too_deep(algorithm, **call)


def raise_memory_error(algorithm, **call):
    return bytearray(1 << 62)


def segfault(algorithm, **call):
    ctypes.string_at(0)


def abort(algorithm, **call):
    os.abort()


def segfault_quietly(algorithm, **call):
    faulthandler.disable()
    ctypes.string_at(0)


def os_exit(algorithm, count, **call):
    os._exit(count)


def kill_itself(algorithm, **call):
    os.kill(os.getpid(), signal.SIGKILL)


def exit_in_c(algorithm, count, **call):
    ctypes.CDLL(None).exit(count)


def hang(algorithm, **call):
    while True:
        time.sleep(3600)


def hang_and_print(algorithm, **call):
    while True:
        print("\x1b[2J waiting " * 100, file=sys.stderr)
        time.sleep(0.01)


def hang_in_python(algorithm, **call):
    while True:
        pass


def hang_in_c(algorithm, **call):
    # The interpreter lock is free, but no Python code runs on this thread: no signal handler either.
    _wait_for_ever_in(ctypes.CDLL(None))


def hang_with_lock(algorithm, **call):
    _wait_for_ever_in(ctypes.PyDLL(None))


def _wait_for_ever_in(library):
    mutex = ctypes.create_string_buffer(128)
    for _ in range(2):
        library.pthread_mutex_lock(mutex)  # the second waits for ever, and no signal interrupts it


def hang_uninterruptibly(algorithm, **call):
    """Nothing but SIGKILL ends it: signals ignored, every exception caught."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            while True:
                time.sleep(3600)
        except BaseException:
            algorithm.logger.info("not now")


def wait_for(algorithm, text, **call):
    """Lasts until the file `text` exists."""
    while not Path(text).exists():
        time.sleep(0.005)
    return Ok()


def wait_for_cancel(algorithm, **call):
    while not algorithm.cancellation.requested:
        time.sleep(0.005)
    return Ok()


def raise_in_thread(algorithm, **call):
    def fail():
        raise RuntimeError("in a thread of its own")

    thread = threading.Thread(target=fail, name="vendor-thread")
    thread.start()
    thread.join()
    return Ok()
