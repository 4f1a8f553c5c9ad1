"""Where `procvision` begins: an import that fails ends with a status that is no verdict.

Python ends with 1 after an exception, and 1 means NG here. This module imports nothing that may be missing.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
from typing import NoReturn

NO_VERDICT = 2
"""`exits.ERROR`, which can't be imported where imports fail."""


def main() -> None:
    """Run the command line, and leave with its exit status."""
    gc.disable()  # until the command begins: what is imported until then stays
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
        if isinstance(leaving.code, int) and (sys.flags.inspect or not _is_observed()):
            _leave(leaving.code)
        raise


def _is_observed() -> bool:
    """Return whether a debugger or a profiler has something to do after the command."""
    return sys.gettrace() is not None or sys.getprofile() is not None or _has_monitor()


def _has_monitor() -> bool:
    monitoring = getattr(sys, "monitoring", None)  # since Python 3.12
    return monitoring is not None and any(monitoring.get_tool(number) is not None for number in range(6))


def _leave(status: int) -> NoReturn:
    """End this process as the interpreter does, but for what it takes apart: nobody needs it any more.

    With `python -i` the interpreter would ask for more commands, and end with a status of its own.
    """
    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
