"""How this program is called, for the command lines that it suggests."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from procvision_sdk.masking import masked_command

NAME = "procvision"


def program(name: str = NAME) -> str:
    """Give the word that starts it again, or a program installed beside it.

    Its name where a shell finds it by that; else the path by which this one was started.
    """
    started = Path(sys.argv[0])
    if started.name != NAME:
        return name
    found = shutil.which(NAME)
    # The same words first: every inspection of a data set asks, and resolving takes longer than all else it needs.
    if found is not None and (found == sys.argv[0] or Path(found).resolve() == started.resolve()):
        return name
    beside = started.with_name(name)
    near = os.path.relpath(beside)
    return str(beside) if near.startswith("..") else near


def command_line() -> str:
    """Give the whole command line by which this program was started."""
    return shlex.join(masked_command([program(), *sys.argv[1:]]))
