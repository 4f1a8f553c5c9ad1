"""Where `procvision` begins: an import that fails ends with a status that is no verdict.

Python ends with 1 after an exception, and 1 means NG here. This module imports nothing that may be missing.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import NoReturn

NO_VERDICT = 2
"""`exits.ERROR`, which can't be imported where imports fail."""


def main() -> None:
    """Run the command line, and leave with its exit status."""
    try:
        from procvision_tools.cli.main import main as run
    except Exception as error:  # noqa: BLE001 - whatever a broken environment raises
        print(
            f"error: procvision can't start: {type(error).__name__}: {error}\n"
            f"hint: the environment of {sys.executable} is not whole, install procvision[cli] anew",
            file=sys.stderr,
        )
        sys.exit(NO_VERDICT)
    try:
        run()
    except Exception:  # noqa: BLE001 - not even the error could be told: Python's own status for it would mean NG
        sys.exit(NO_VERDICT)
    except SystemExit as leaving:
        if sys.flags.inspect and isinstance(leaving.code, int):
            # Else the interpreter asks for more commands, and ends with a status of its own.
            _leave(leaving.code)
        raise


def _leave(status: int) -> NoReturn:
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
