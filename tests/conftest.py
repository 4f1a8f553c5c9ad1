"""What holds for every test of the suite."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# What stands in `peers` is imported by its own name, by tests and by what they start.
PEERS = str(Path(__file__).parent / "peers")
if PEERS not in sys.path:
    sys.path.append(PEERS)

# Byte code is kept, whatever the shell says: each of the thousands of processes that tests start would compile what it
# imports again, and a start would take twice the time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A machine that does other things, too, is slow at times: that is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_xdist_auto_num_workers() -> int:
    """Half as many workers again as cores with `-n auto`: a fourth of the time, tests wait for processes and clocks."""
    cores = len(os.sched_getaffinity(0))
    return int(os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS", cores + (cores + 1) // 2))
