"""The processes beside the lines': what fills the projection, and the page. They are started again when they end.

They are sessions of their own: Ctrl-C reaches the lines' process alone, which lets them see its last verdicts. Each
ends by itself when that process is gone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from procvision_station.configuration.reading import StationConfiguration

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
"""Between two starts of one that ends by itself."""
LONG_LIFE_S = 60.0
"""One that lived so long is started at once."""
END_WITHIN_S = 10.0
"""After SIGTERM: the projection reads to the journals' ends, the page answers what it was asked."""
PAGE_IS_NICER, PROJECTION_IS_NICER = 10, 5
"""What a browser asks for waits for the history, and both wait for what a line does."""
AUTOGROUP = Path("/proc/self/autogroup")
AUTOGROUP_TRIES, AUTOGROUP_PAUSE_S = 20, 0.12
"""The kernel lets ordinary users write to it ten times a second, all of them together."""


def commands(station: StationConfiguration) -> Mapping[str, Sequence[str]]:
    """Return the command lines of a station's companions, by name."""
    folder, parent = str(station.folder), str(os.getpid())
    found: dict[str, Sequence[str]] = {}
    found["projection"] = (sys.executable, "-P", "-m", "procvision_station.projection", folder, parent)
    if station.file.web is not None:
        page = ("-m", "procvision_tools", "station", "page", folder, "--parent", parent)
        found["page"] = (sys.executable, "-P", *page)
    return found


@contextlib.contextmanager
def companions(wanted: Mapping[str, Sequence[str]], notice: Callable[[str], None]) -> Iterator[None]:
    """Keep the processes running within the block."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=_keep, args=(name, command, stop, notice), name=f"procvision-{name}")
        for name, command in wanted.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _keep(name: str, command: Sequence[str], stop: threading.Event, notice: Callable[[str], None]) -> None:
    pause_s = FIRST_PAUSE_S
    while not stop.is_set():
        began = time.monotonic()
        try:
            # What it prints is no verdict: stdout may be what a machine reads.
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True)
        except OSError as error:
            said = f"can't be started: {error.strerror or error}"
        else:
            while process.poll() is None and not stop.wait(0.1):
                pass
            if process.poll() is None:
                _end(process)
                return
            said = f"ended with {process.returncode}"
        pause_s = FIRST_PAUSE_S if time.monotonic() - began > LONG_LIFE_S else pause_s
        notice(f"{name}: {said}; it is started again in {pause_s:g} s")
        stop.wait(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def give_way(nicer: int) -> None:
    """Let a line's processes have the processor first.

    Linux may share a processor among sessions, and then a process is nice to those of its own session alone
    (`sched(7)`, autogroup). So a session of its own is made nicer as a whole.
    """
    with contextlib.suppress(OSError):
        os.nice(nicer)
    if os.getsid(0) != os.getpid():
        return
    for _ in range(AUTOGROUP_TRIES):
        try:
            AUTOGROUP.write_text(str(nicer))
        except BlockingIOError:
            time.sleep(AUTOGROUP_PAUSE_S)
        except OSError:
            return  # a kernel without it, or one that refuses
        else:
            return


def end_with(parent: int, stop: threading.Event, look_s: float = 1.0) -> None:
    """Set `stop` when the process that started this one is gone; on a thread of its own."""

    def look() -> None:
        while os.getppid() == parent and not stop.wait(look_s):
            pass
        stop.set()

    threading.Thread(target=look, name="procvision-parent", daemon=True).start()


# --- the page in a browser ------------------------------------------------------------------------------------

OPENED_WITHIN_S = 30.0
"""A page that doesn't answer by then has said why."""


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def opened_page(station: StationConfiguration, *, open_it: bool) -> Iterator[None]:
    """Open a station's page in a browser as soon as it answers, where there is one and `open_it` says so."""
    stop = threading.Event()
    web = station.file.web

    def wait() -> None:
        until = time.monotonic() + OPENED_WITHIN_S
        while web is not None and time.monotonic() < until and not stop.wait(0.2):
            try:
                socket.create_connection((web.host, web.port), 1.0).close()
            except OSError:
                continue
            webbrowser.open(f"{'https' if web.certificate else 'http'}://{web.host}:{web.port}/")
            return

    if web is not None and open_it:
        threading.Thread(target=wait, name="procvision-browser", daemon=True).start()
    try:
        yield
    finally:
        stop.set()
