"""What it does to its process: descriptors, signals, children, threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from procvision_sdk import Ok


def _told(**facts):
    return {"status": "OK", "data": {"result_status": "OK", "debug": facts}}


def close_all(algorithm, text, **call):
    """Closes every descriptor; waits for the file `text`, if one is named, while they are closed."""
    os.closerange(3, 65536)
    return _waited(algorithm, text)


def close_standard(algorithm, text, **call):
    os.closerange(0, 3)
    return _waited(algorithm, text)


def reuse_all(algorithm, text, **call):
    """Closes every descriptor and opens a readable, writable and endless file in place of each."""
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    os.closerange(3, 65536)
    taken = [os.open("/dev/zero", os.O_RDWR)]
    while taken[-1] < highest:
        taken.append(os.open("/dev/zero", os.O_RDWR))
    algorithm.kept = taken
    return _waited(algorithm, text)


def write_to_reused(algorithm, text, count, **call):
    """Closes every descriptor and opens the file `text` in place of each; `count` is how many of them are closed."""
    os.closerange(3, 65536)
    algorithm.kept = [os.open(text, os.O_RDWR | os.O_APPEND) for _ in range(count)]
    algorithm.logger.info("this is not for the file")
    return Ok()


def _waited(algorithm, path):
    from algorithms.misbehaving.deeds_of_failure import wait_for

    return wait_for(algorithm, text=path) if path else Ok()


def ignore_signals(algorithm, **call):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    return Ok()


def default_signals(algorithm, **call):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    return Ok()


def fork_sleeper(algorithm, **call):
    child = os.fork()
    if not child:
        time.sleep(3600)
        os._exit(0)
    return _told(child=child)


def fork_and_return_twice(algorithm, **call):
    os.fork()
    return Ok()


def fork_and_raise(algorithm, **call):
    if not os.fork():
        raise SystemExit
    return Ok()


def start_daemon(algorithm, **call):
    """A double fork with a session of its own, deaf to SIGTERM: what a vendor's license server does."""
    read, write = os.pipe()
    if not os.fork():
        os.setsid()
        daemon = os.fork()
        if daemon:
            os.write(write, str(daemon).encode())
            os._exit(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.chdir("/")
        time.sleep(3600)
        os._exit(0)
    daemon = int(os.read(read, 20))
    os.close(read)
    os.close(write)
    return _told(child=daemon)


def start_program(algorithm, **call):
    child = subprocess.Popen(["sleep", "3600"])
    algorithm.kept.append(child)
    return _told(child=child.pid)


def start_daemonic_process(algorithm, **call):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,), daemon=True)
    child.start()
    algorithm.kept.append(child)
    return _told(child=child.pid)


def leave_thread(algorithm, **call):
    threading.Thread(target=time.sleep, args=(3600,), daemon=False).start()
    return Ok()


def register_hanging_exit(algorithm, **call):
    import atexit

    atexit.register(time.sleep, 3600)
    return Ok()


def thread_that_exits_later(algorithm, text, **call):
    """A thread of its own that ends the process between two calls, once the file `text` exists."""
    from algorithms.misbehaving.deeds_of_failure import wait_for

    def end():
        wait_for(algorithm, text=text)
        os._exit(0)

    threading.Thread(target=end, daemon=True).start()
    return Ok()


def make_large_arrays(algorithm, **call):
    """How many pages the kernel had to give for what the two calls before had freed."""
    import resource

    import numpy as np

    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.ones((1200, 1920, 3), np.uint8) + 1
    return _told(pages=resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
