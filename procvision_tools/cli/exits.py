"""The exit statuses of `procvision`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

OK = 0
NG = 1
ERROR = 2
USAGE = 64
INTERRUPTED = 130
TERMINATED = 143

MEANINGS: Mapping[int, str] = MappingProxyType(
    {
        OK: "the verdict is OK, or there was nothing to judge and all went well",
        NG: "the verdict is NG, a check failed, or a stated bound was missed",
        ERROR: "there is no verdict: something went wrong",
        USAGE: "the command line is wrong",
        INTERRUPTED: "interrupted by Ctrl-C",
        TERMINATED: "ended by SIGTERM",
    }
)
BY_VERDICT: Mapping[str, int] = MappingProxyType({"OK": OK, "NG": NG, "ERROR": ERROR})
EPILOG = "\b\nExit statuses:\n" + "\n".join(f"  {status:>3}  {meaning}" for status, meaning in MEANINGS.items())
