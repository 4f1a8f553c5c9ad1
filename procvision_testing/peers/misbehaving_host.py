"""A host that misbehaves as its arguments say: raw frames, the standard library only.

    python -m procvision_testing.peers.misbehaving_host crash --after 2 --never-pong

It is what runners are tested with, in any language. Without arguments it behaves. A call's answer echoes the call:
`data.debug.echo` holds `user_params`, so that a caller can tell its own answer from another's; `process_id` who
answered; `next_waits` whether there was already more to read. `user_params` may ask for more: `takes` seconds, `tell`
limits or environment, and `misbehave` with --asked. With `--trace` it writes down what it heard and said, a JSON object
a line.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from typing import Any

IN, OUT = 0, 1


def frame(message: dict[str, Any]) -> bytes:
    """Give a message as it goes over the pipe."""
    payload = json.dumps(message).encode()
    return len(payload).to_bytes(4, "big") + payload


BEYOND_THE_OUTLINE = {"request_id", "capabilities", "process_id", "step_index", "state"}
"""Fields that the protocol's outline doesn't name."""


class Peer:
    """A host that does as its options say."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.calls = 0
        self.call_began = 0.0
        self.lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Write a frame."""
        if self.options.outline:
            message = {key: value for key, value in message.items() if key not in BEYOND_THE_OUTLINE}
        self.write(frame(message))

    def write(self, data: bytes) -> None:
        """Write bytes that need be no frame."""
        self.note("sent", data)
        with self.lock:
            while data:
                data = data[os.write(OUT, data) :]

    def note(self, what: str, data: bytes) -> None:
        """Keep what was heard or said for the program that started this."""
        if self.options.trace is None:
            return
        fields = {"process_id": os.getpid(), "at_ms": time.monotonic_ns() // 1_000_000, what: data.hex()}
        line = json.dumps(fields).encode() + b"\n"
        descriptor = os.open(self.options.trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line)
        os.close(descriptor)

    def read_exactly(self, count: int) -> bytes:
        """Read bytes; leave at the end of the stream."""
        data = b""
        while len(data) < count:
            piece = os.read(IN, count - len(data))
            if not piece:
                self.leave(0)
            data += piece
        return data

    def receive(self) -> dict[str, Any]:
        """Read a frame; it must be one."""
        payload = self.read_exactly(int.from_bytes(self.read_exactly(4), "big"))
        self.note("heard", payload)
        message: dict[str, Any] = json.loads(payload)
        return message

    def leave(self, status: int) -> None:
        """End, or with --ignore-end don't."""
        if self.options.ignore_end:
            hang()
        os._exit(status)

    # --- life -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Live until the end, in whatever way."""
        options = self.options
        if options.log:
            os.write(2, (json.dumps({"level": "info", "message": options.log}) + "\n").encode())
        if options.ignore_sigterm:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
        if options.fork_child:
            # Holds the pipes, in a session of its own, for as long as nobody kills it.
            subprocess.Popen(
                [sys.executable, "-c", "import time; time.sleep(600)", str(options.trace)], start_new_session=True
            )
        if options.flood_stderr:
            threading.Thread(target=flood, daemon=True).start()
        if options.silent:
            hang()
        if options.garbage == "start":
            self.write(b"Welcome to the vision library, version 3.2\n")
        time.sleep(options.hello_after)
        self.send(
            {
                "type": "hello",
                "sdk_version": options.version,
                "capabilities": ["cancel", "info", "reset", "pending"],
                "process_id": os.getpid(),
            }
        )
        self.receive()
        if options.first is not None and self.is_first(options.first):
            options.setup_fails = None
        if options.setup_fails == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif options.setup_fails == "error":
            self.send({"type": "error", "status": "ERROR", "message": "no weights", "error_code": "1003"})
            os._exit(70)
        elif options.setup_fails == "hang":
            hang()
        while True:
            self.handle(self.receive())

    def handle(self, message: dict[str, Any]) -> None:
        """Do what a message asks for."""
        options = self.options
        kind = message["type"]
        if kind == "ping":
            if not options.never_pong and not (options.no_pong_after and self.calls >= options.no_pong_after):
                request_id = "ping-of-somebody" if options.other_pong else message["request_id"]
                self.send({"type": "pong", "request_id": request_id, "state": "ready"})
        elif kind == "shutdown":
            if options.ignore_shutdown:
                return
            self.send({"type": "shutdown", "status": "OK"})
            self.leave(0)
        elif kind == "call" and message["phase"] == "info":
            self.send({"type": "result", "phase": "info", "status": "OK", "request_id": message["request_id"]})
            if options.not_reading:
                hang()
        elif kind == "call":
            self.calls += 1
            self.call_began = time.monotonic()
            self.answer(message)

    def answer(self, call: dict[str, Any]) -> None:
        """Answer a call, or misbehave instead."""
        options = self.options
        params = call.get("user_params") or {}
        misbehaves = self.calls > options.after and (not options.asked or params.get("misbehave")) and not self.spared()
        if misbehaves and options.misbehaviour is not None:
            getattr(self, "do_" + options.misbehaviour.replace("-", "_"))(call)
            return
        time.sleep(params.get("takes", options.takes))
        self.send(self.result(call))

    def spared(self) -> bool:
        """Tell whether it is not this one's turn: with --once a file says that an earlier process has misbehaved."""
        return self.options.once is not None and not self.is_first(self.options.once)

    @staticmethod
    def is_first(marker: str) -> bool:
        """Tell whether no process has made the file yet."""
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def result(self, call: dict[str, Any], request_id: str | None = None) -> dict[str, Any]:
        """Give the right answer to a call."""
        params = call.get("user_params") or {}
        debug = {
            "echo": call.get("user_params"),
            "process_id": os.getpid(),
            "next_waits": next_waits(),
            "latency_ms": int((time.monotonic() - self.call_began) * 1e6) / 1e3,
        }
        if params.get("tell") == "limits":
            debug["told"] = {
                name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0]
                for name in ("DATA", "CPU", "NOFILE", "NPROC", "CORE")
            }
        elif params.get("tell") == "environment":
            debug["told"] = dict(os.environ)
        data: dict[str, Any] = {"debug": debug}
        if call["phase"] == "execute":
            data["result_status"] = self.options.verdict
            if self.options.verdict == "NG":
                data |= {"ng_reason": "asked to", "defect_rects": []}
        return {
            "type": "result",
            "request_id": request_id or call["request_id"],
            "phase": call["phase"],
            "step_index": call.get("step_index"),
            "status": "OK",
            "data": data,
        }

    # --- ways to misbehave at a call ------------------------------------------------------------------------

    # ruff: noqa: D102 - the names say it, and a table of `conformance.faults` says it for people
    def do_garbage(self, _: dict[str, Any]) -> None:
        self.write(b"Segmentation of 12 regions done in 3.1 ms\n")
        hang()

    def do_other_id(self, call: dict[str, Any]) -> None:
        self.send(self.result(call, "call-of-somebody"))

    def do_double(self, call: dict[str, Any]) -> None:
        self.send(self.result(call))
        self.send(self.result(call))

    def do_program_and_result(self, call: dict[str, Any]) -> None:
        self.do_program(call)
        self.send(self.result(call))

    def do_torn(self, call: dict[str, Any]) -> None:
        whole = frame(self.result(call))
        self.write(whole[: len(whole) // 2])
        os._exit(0)

    def do_torn_hang(self, call: dict[str, Any]) -> None:
        whole = frame(self.result(call))
        self.write(whole[: len(whole) // 2])
        while True:
            self.receive()

    def do_huge(self, _: dict[str, Any]) -> None:
        self.write((2**32 - 1).to_bytes(4, "big") + b"{" * 100)
        hang()

    def do_malformed(self, call: dict[str, Any]) -> None:
        self.send(self.result(call) | {"data": {"result_status": "MAYBE"}})

    def do_lower_case_verdict(self, call: dict[str, Any]) -> None:
        self.send(self.result(call) | {"data": {"result_status": "ok"}})

    def do_no_verdict(self, call: dict[str, Any]) -> None:
        self.send(self.result(call) | {"data": {}})

    def do_no_data(self, call: dict[str, Any]) -> None:
        self.send({key: value for key, value in self.result(call).items() if key != "data"})

    def do_verdict_outside_data(self, call: dict[str, Any]) -> None:
        self.send(self.result(call) | {"data": {}, "result_status": "OK"})

    def do_no_status(self, call: dict[str, Any]) -> None:
        self.send({key: value for key, value in self.result(call).items() if key != "status"})

    def do_error_with_verdict(self, call: dict[str, Any]) -> None:
        self.send(self.result(call) | {"status": "ERROR", "error_code": "1003", "message": "no weights"})

    def do_ng_without_reason(self, call: dict[str, Any]) -> None:
        self.send(self.result(call) | {"data": {"result_status": "NG"}})

    def do_no_number(self, call: dict[str, Any]) -> None:
        answer = self.result(call)
        answer["data"]["debug"]["score"] = float("nan")
        self.send(answer)

    def do_not_utf8(self, call: dict[str, Any]) -> None:
        self.write(frame(self.result(call)).replace(b"process_id", b"process\xff\xfe\xfd"))

    def do_crash(self, _: dict[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)
        hang()

    def do_abort(self, _: dict[str, Any]) -> None:
        os.abort()

    def do_exit(self, _: dict[str, Any]) -> None:
        os.write(2, b"the licence server is gone\n")
        os._exit(70)

    def do_hang(self, _: dict[str, Any]) -> None:
        """Answer pings, hear cancel, never answer the call."""

    def do_hang_deaf(self, _: dict[str, Any]) -> None:
        hang()

    def do_hang_with_lock(self, _: dict[str, Any]) -> None:
        # PyDLL keeps the interpreter lock for the call, as an extension module that forgot to give it up.
        ctypes.PyDLL(None).sleep(600)

    def do_late(self, call: dict[str, Any]) -> None:
        time.sleep(self.options.late)
        self.send(self.result(call))

    def do_recoverable(self, call: dict[str, Any]) -> None:
        self.send(self.error(call, "recoverable", "9999", retryable=True))

    def do_program(self, call: dict[str, Any]) -> None:
        self.send(self.error(call, "program", "9999", retryable=False))

    def do_gpu(self, call: dict[str, Any]) -> None:
        self.send(self.error(call, "gpu_out_of_memory", "1004", retryable=True))

    def do_timeout(self, call: dict[str, Any]) -> None:
        self.send(self.error(call, "timeout", "1005", retryable=True))

    def do_burn(self, _: dict[str, Any]) -> None:
        while True:
            pass

    def do_open_files(self, _: dict[str, Any]) -> None:
        """Until there are none left, which it says and dies of."""
        try:
            while True:
                os.open("/dev/null", os.O_RDONLY)
        except OSError as error:
            os.write(2, f"{error.strerror}\n".encode())
            os._exit(3)

    def do_grow(self, _: dict[str, Any]) -> None:
        kept = []
        try:
            while True:
                kept.append(bytearray(b"\1" * (8 << 20)))
                time.sleep(0.01)
        except MemoryError:
            kept.clear()
            os.write(2, b"MemoryError\n")
            os._exit(1)

    @staticmethod
    def error(call: dict[str, Any], kind: str, code: str, *, retryable: bool) -> dict[str, Any]:
        """Give an error frame that answers a call."""
        return {
            "type": "error",
            "request_id": call["request_id"],
            "status": "ERROR",
            "message": f"a {kind} error",
            "error_code": code,
            "data": {"kind": kind, "retryable": retryable},
        }


def next_waits() -> bool:
    """Return whether the next call is in the pipe already."""
    return bool(select.select([IN], [], [], 0)[0])


def hang() -> None:
    """Do nothing for ever."""
    while True:
        time.sleep(3600)


def flood() -> None:
    """Log for ever."""
    line = json.dumps({"level": "info", "message": "x" * 200}).encode() + b"\n"
    with contextlib.suppress(OSError):
        while True:
            os.write(2, line)


MISBEHAVIOURS = sorted(name[3:].replace("_", "-") for name in vars(Peer) if name.startswith("do_"))


def option_parser() -> argparse.ArgumentParser:
    """Everything that it can be told to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("misbehaviour", nargs="?", choices=MISBEHAVIOURS, help="at a call")
    parser.add_argument("--after", type=int, default=0, help="behave for so many calls first")
    parser.add_argument("--once", metavar="FILE", help="misbehave only if FILE isn't there yet, and make it")
    parser.add_argument("--asked", action="store_true", help="misbehave only at calls that ask for it")
    parser.add_argument("--takes", type=float, default=0.0, help="seconds that a call takes")
    parser.add_argument("--late", type=float, default=1.0, help="seconds until a late answer")
    parser.add_argument("--verdict", choices=["OK", "NG"], default="OK")
    parser.add_argument("--log", help="a line to log at the start")
    parser.add_argument("--silent", action="store_true", help="no hello, ever")
    parser.add_argument("--hello-after", type=float, default=0.0)
    parser.add_argument("--version", default="1.0", help="of the protocol")
    parser.add_argument("--garbage", choices=["start"])
    parser.add_argument("--setup-fails", choices=["crash", "error", "hang"])
    parser.add_argument("--first", metavar="FILE", help="no failure of setup if FILE isn't there yet; makes it")
    parser.add_argument("--never-pong", action="store_true")
    parser.add_argument("--no-pong-after", type=int, default=0, help="no pong once so many calls came")
    parser.add_argument("--other-pong", action="store_true", help="pongs of another id")
    parser.add_argument(
        "--outline", action="store_true", help="knows no more than the outline of the protocol: no ids, no capabilities"
    )
    parser.add_argument("--not-reading", action="store_true", help="stops to read its stdin when it is ready")
    parser.add_argument("--ignore-shutdown", action="store_true")
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--ignore-end", action="store_true", help="lives on when its stdin has ended")
    parser.add_argument("--fork-child", action="store_true", help="leaves a child that holds the pipes")
    parser.add_argument("--flood-stderr", action="store_true")
    parser.add_argument("--trace", metavar="FILE", help="write down what is heard and said")
    return parser


def main() -> None:
    """Read the options and live."""
    Peer(option_parser().parse_args()).run()


if __name__ == "__main__":
    main()
