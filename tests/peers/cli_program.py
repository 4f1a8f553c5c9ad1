"""The command `procvision` as a process, and what it may leave behind."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

PROCVISION = (sys.executable, "-m", "procvision_tools.cli.main")


def procvision(
    *arguments: object, folder: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 100
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, which leaves nothing in shared memory."""
    with subprocess.Popen(
        [*PROCVISION, *map(str, arguments)], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            process.kill()
    assert not shared_memory_of(process.pid)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def shared_memory_of(process_id: int) -> set[Path]:
    """What a runner of this process id has in shared memory: its pictures."""
    return set(Path("/dev/shm").glob(f"pv-{process_id}-*"))


def descendants(process_id: int) -> list[int]:
    """The ids of a process' children, their children and so on."""
    found: list[int] = []
    for task in Path(f"/proc/{process_id}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def wait_until_gone(process_ids: Collection[int], timeout_s: float = 20) -> None:
    """Wait until processes have ended. One that has, and whose new parent has not collected it yet, is gone."""
    deadline = time.monotonic() + timeout_s
    while left := [each for each in process_ids if _runs(each)]:
        assert time.monotonic() < deadline, [Path(f"/proc/{each}/status").read_text() for each in left]
        time.sleep(0.02)


def _runs(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def has_a_picture(process_id: int) -> bool:
    """Whether a runner of this process id has put a picture into its arena."""
    for entry in Path(f"/proc/{process_id}/fd").glob("*"):
        with contextlib.suppress(OSError):
            if "memfd:procvision" in str(entry.readlink()) and entry.stat().st_blocks:
                return True
    return False
