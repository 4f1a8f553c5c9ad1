"""An adapter that speaks as the field's do, of the standard library alone. `act` and arguments make it misbehave."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

STEPWISE = ["ping", "call", "shutdown", "shared_memory:v1", "info"]
GUIDED = ["ping", "call", "shutdown", "shared_memory:v1", "execute"]


def write(payload):
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    sys.stdout.buffer.write(len(data).to_bytes(4, "big") + data)
    sys.stdout.buffer.flush()


def read():
    header = sys.stdin.buffer.read(4)
    return json.loads(sys.stdin.buffer.read(int.from_bytes(header, "big"))) if len(header) == 4 else None


def flood_stderr(line):
    for _ in range(20):
        os.write(2, line * 200)


def act_on(act, answer):  # noqa: PLR0912 - one branch a deed
    """Do what comes before the answer, or in its place."""
    if act == "hang":
        time.sleep(1000)
    elif act == "slow":
        time.sleep(1.5)
    elif act == "text":
        os.write(1, b"a line of text\n")
    elif act == "no_json":
        write(b"no json")
        return
    elif act == "nan":
        answer["data"]["debug"]["mean"] = float("nan")
    elif act == "half_a_frame":
        os.write(1, (1000).to_bytes(4, "big") + b"{")
        os._exit(0)
    elif act == "exit":
        os._exit(7)
    elif act == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif act == "closed":
        os.close(1)
        time.sleep(1000)
    elif act == "other_id":
        write({**answer, "request_id": "call-999"})
    elif act == "twice":
        write(answer)
    elif act == "pre":
        answer["data"]["phase"] = "pre"
    elif act == "flood":
        while True:
            write({"type": "pong", "request_id": "x"})
    elif act == "empty_frames":
        while True:
            os.write(1, bytes(64 * 1024))
    elif act == "stderr":
        flood_stderr(b"x" * 99 + b"\n")
        flood_stderr(b"\n")
        flood_stderr(b'{"message": "a record", "level": "info"}\n')
        os.write(2, b"without an end: \xff" + b"y" * 200_000)
    elif act == "offspring":
        child = subprocess.Popen(
            ["sleep", "1000"], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        answer["data"]["debug"]["offspring"] = child.pid
    write(answer)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", default="0.0.7")
    parser.add_argument("--mute", action="store_true")
    parser.add_argument("--first", default="")
    parser.add_argument("--stays", action="store_true")
    parser.add_argument("--dies-at-start", type=int)
    asked = parser.parse_args()
    if asked.stays:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if asked.dies_at_start is not None:
        sys.stderr.write("no licence was found\n")
        sys.exit(asked.dies_at_start)
    if asked.mute:
        time.sleep(1000)
    if asked.first:
        write(json.loads(asked.first))
    write(
        {"type": "hello", "sdk_version": asked.version, "capabilities": GUIDED if asked.version > "0.3" else STEPWISE}
    )
    while (message := read()) is not None:
        kind = message["type"]
        if kind == "ping":
            write({"type": "pong", "request_id": message["request_id"], "status": "OK"})
        elif kind == "shutdown":
            if asked.stays:
                time.sleep(1000)
            write({"type": "shutdown", "status": "OK"})
            return
        elif kind == "call":
            call = message["data"]
            params = call.get("user_params") or call
            debug = {"process": os.getpid(), "call": call}
            answer = {"type": "result", "request_id": message["request_id"], "status": "OK", "message": ""}
            if call.get("phase") == "info":
                write({**answer, "data": {"phase": "info", "info": {"name": "odd"}}})
                continue
            answer["data"] = {"result_status": "OK", "defect_rects": [], "debug": debug}
            if call.get("phase") == "pre":
                del answer["data"]["result_status"]
            act_on(params.get("act"), answer)


if __name__ == "__main__":
    main()
