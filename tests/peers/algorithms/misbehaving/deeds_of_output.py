"""What it writes where it shouldn't, and what it tries to read."""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
import time
import warnings

from procvision_sdk import Ok

FRAME = b'\x00\x00\x00\x11{"type":"result"}'


def print_text(algorithm, text, count, **call):
    for _ in range(count):
        print(text)
    return Ok()


def print_without_newline(algorithm, text, **call):
    print(text, end="")
    return Ok()


def write_frame(algorithm, **call):
    os.write(1, FRAME)
    return Ok()


def printf(algorithm, text, **call):
    libc = ctypes.CDLL(None)
    libc.printf(b"%s\n", text.encode())
    libc.fflush(None)
    return Ok()


def run_child(algorithm, text, **call):
    subprocess.run([sys.executable, "-S", "-c", f"print({text!r})"], check=True)
    return Ok()


def run_child_that_reads(algorithm, **call):
    done = subprocess.run(["cat"], capture_output=True, check=True)
    return {"status": "OK", "data": {"result_status": "OK", "debug": {"read": len(done.stdout)}}}


def read_stdin(algorithm, **call):
    facts = {"read": len(os.read(0, 100)), "line": sys.stdin.readline()}
    return {"status": "OK", "data": {"result_status": "OK", "debug": facts}}


def print_and_wait(algorithm, text, **call):
    from algorithms.misbehaving.deeds_of_failure import wait_for

    print("before")
    wait_for(algorithm, text=text)
    print("after")
    return Ok()


def print_to_stderr(algorithm, text, **call):
    print(text, file=sys.stderr)
    return Ok()


def flood(algorithm, count, **call):
    """`count` MiB on stdout, and as much in log records."""
    line = "x" * 1023
    for _ in range(count * 1024):
        print(line)
        algorithm.logger.info(line)
    return Ok()


def log_large(algorithm, text, count, **call):
    """Records of ever more bytes, some by a field and some by their message."""
    for number in range(count):
        algorithm.logger.info(f"{text} {number}", blob="x" * (number * 7500))
        time.sleep(0.005)  # a line that finds the pipe full is dropped
        algorithm.logger.info(f"{text} {number}: " + "\u00e4" * (number * 900))
        time.sleep(0.005)
    return Ok()


def log_many(algorithm, text, count, **call):
    """As fast as it goes."""
    for number in range(count):
        logging.getLogger("vendor").info("%s %d", text, number)
    return Ok()


def log_everywhere(algorithm, text, **call):
    algorithm.logger.info("structured", lamp=3, level="mine")
    logging.getLogger("vendor").warning("plain %s", text)
    warnings.warn(text, stacklevel=1)
    logging.getLogger("vendor").error("too few %s %s", text)  # noqa: PLE1206
    logging.getLogger().handlers.clear()
    logging.basicConfig(stream=sys.stdout, force=True)
    logging.getLogger("vendor").warning("own handler %s", text)
    return Ok()


def replace_streams(algorithm, text, **call):
    import builtins
    import io
    import json

    sys.stdout = sys.stderr = sys.stdin = sys.__stdout__ = io.StringIO()
    json.dumps = json.loads = builtins.print = None
    os.chdir("/proc/self")
    os.umask(0o777)
    os.environ.clear()
    return Ok()
