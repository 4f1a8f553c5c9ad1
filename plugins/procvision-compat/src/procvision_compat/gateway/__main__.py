"""`python -m procvision_compat.gateway -- COMMAND…`: starts an adapter of the field's and speaks to it for a runner."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import logging
import os
import shlex
import sys
import time
from pathlib import Path
from typing import NoReturn

from procvision_compat.gateway.adapter import Adapter
from procvision_compat.gateway.conversation import Gateway
from procvision_compat.gateway.log import LOGGER, Log
from procvision_compat.gateway.pictures import FOLDER_VARIABLE, FieldFolder
from procvision_compat.package import ROOT_VARIABLE, FieldPackage, host_name
from procvision_sdk.errors import ErrorCode, ManifestError
from procvision_sdk.wire.codec import error_message
from procvision_sdk.wire.connection import DEFAULT_HANDSHAKE_TIMEOUT_S, Connection
from procvision_sdk.wire.frames import DEFAULT_MAX_FRAME_BYTES
from procvision_sdk.wire.greeting import handed_arena, hello_frame
from procvision_sdk.wire.tables import Role

DEFAULT_SHUTDOWN_GRACE_S = 3.0
"""The protocol's: how long a running call may still take once the gateway was asked to leave."""
MAX_NAME_CHARACTERS = 200
"""How much of a command line is told as a name."""


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError
    return value


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m procvision_compat.gateway",
        description="Run an adapter of procvision_algorithm_sdk 0.0.x or 0.3.x for a ProcVision runner.",
        epilog="Example: python -m procvision_compat.gateway -- python -m procvision_algorithm_sdk.adapter",
    )
    parser.add_argument(
        "--handshake-timeout-s",
        type=_seconds,
        default=DEFAULT_HANDSHAKE_TIMEOUT_S,
        metavar="SECONDS",
        help="how long to wait for the runner's hello; 0 waits for ever (default: %(default)g)",
    )
    parser.add_argument(
        "--shutdown-grace-s",
        type=_seconds,
        default=DEFAULT_SHUTDOWN_GRACE_S,
        metavar="SECONDS",
        help="how long a running call may still take when the gateway is asked to leave (default: %(default)g)",
    )
    parser.add_argument(
        "--max-frame-bytes",
        type=int,
        default=DEFAULT_MAX_FRAME_BYTES,
        metavar="BYTES",
        help="the largest frame that is taken, from either side (default: %(default)d)",
    )
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="the adapter's command line, behind --")
    parsed = parser.parse_args(arguments)
    if parsed.max_frame_bytes < 1024:
        parser.error(f"--max-frame-bytes is {parsed.max_frame_bytes}: it is at least 1024")
    if os.isatty(0) or os.isatty(1):
        parser.error(
            "stdin and stdout carry the frames of a runner, here one of them is a terminal; "
            "hint: Runner(command=[sys.executable, '-m', 'procvision_compat.gateway', '--', ...])"
        )
    return parsed


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the gateway. Leave with the adapter's own exit status where that is not 0."""
    asked = _arguments(arguments)
    command = shlex.join(asked.command)
    package = _package(asked.command)
    name = command if package is None else host_name(package.name)
    versions = {"gateway": importlib.metadata.version("procvision-compat")}
    if package is not None:
        versions["algorithm"] = package.version
    log = Log(2)
    logger = logging.getLogger(LOGGER)
    logger.addHandler(log)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    arena = handed_arena()
    folder = FieldFolder(os.environ.get(FOLDER_VARIABLE), arena)
    try:
        folder.open()
        adapter = Adapter(asked.command, {**os.environ, FOLDER_VARIABLE: str(folder.path)})
    except OSError as error:
        folder.close()
        _cannot_start(command, error)
    now = time.monotonic()
    connection = Connection(
        Role.HOST, now=now, max_frame_bytes=asked.max_frame_bytes, handshake_timeout_s=asked.handshake_timeout_s
    )
    try:
        os.write(1, hello_frame(name[:MAX_NAME_CHARACTERS], adapter.process_id, arena=arena >= 0))
        connection.hello_was_written()
        Gateway(
            adapter,
            connection,
            folder,
            log,
            name,
            package,
            versions,
            runner=(0, 1),
            shutdown_grace_s=asked.shutdown_grace_s,
        ).run()
    except BaseException:
        # Nothing of the adapter may outlive a gateway that fails.
        logger.exception("the gateway failed")
        adapter.kill_tree()
        folder.close()
        log.flush_for(1.0)
        os._exit(os.EX_SOFTWARE)


def _package(command: list[str]) -> FieldPackage | None:
    """Return the package that the adapter will find by itself; None where it is told an entry point, or finds none."""
    if os.environ.get("PROC_ENTRY_POINT") or any(argument.startswith("--entry") for argument in command):
        return None
    for folder in (Path.cwd(), Path(os.environ.get(ROOT_VARIABLE) or ".")):
        with contextlib.suppress(ManifestError):
            return FieldPackage.read(folder)
    return None


def _cannot_start(command: str, error: OSError) -> NoReturn:
    """Say hello all the same: a runner reads why only behind one."""
    text = f"{command} can't be started: {error.strerror} ({error.filename}); hint: is the path of its Python right?"
    connection = Connection(Role.HOST, now=time.monotonic())
    connection.hello_was_written()
    failure = error_message(ErrorCode.UNKNOWN, "load_failed", text)
    os.write(1, hello_frame(command[:MAX_NAME_CHARACTERS], os.getpid()) + connection.send(failure))
    sys.exit(os.EX_SOFTWARE)


if __name__ == "__main__":
    main()
