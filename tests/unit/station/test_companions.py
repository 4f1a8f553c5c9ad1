"""What runs beside the lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from procvision_station.companions import AUTOGROUP

GIVES_WAY = """\
import os
from procvision_station.companions import AUTOGROUP, give_way
give_way(7)
print(os.getpriority(os.PRIO_PROCESS, 0), *AUTOGROUP.read_text().split()[-1:])
"""


@pytest.mark.parametrize(("apart", "of_the_session"), [(True, "7"), (False, None)])
def test_a_companion_gives_way_with_its_session_and_never_with_another_one_s(
    apart: bool, of_the_session: str | None
) -> None:
    if not AUTOGROUP.exists():
        pytest.skip("this kernel shares the processor among processes alone")
    # Empty where the tests' own session has none, as one of a process that the kernel started.
    mine = AUTOGROUP.read_text()
    command = [sys.executable, "-c", GIVES_WAY]
    several = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=apart, cwd=Path(__file__).anchor)
        for _ in range(2)
    ]
    found = [each.communicate(timeout=60)[0].split() for each in several]
    nicer = min(os.getpriority(os.PRIO_PROCESS, 0) + 7, 19)
    assert found == [[str(nicer), *([of_the_session] if of_the_session else mine.split()[-1:])]] * 2
    assert AUTOGROUP.read_text() == mine
