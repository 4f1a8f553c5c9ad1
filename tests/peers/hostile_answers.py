"""A host that is out to deceive its runner: what it may write in answer to a call, and the runner that it writes to.

Each stream of bytes is given to three runners: the general code, the steady calls in Python, and their compiled form.
All three have to say the same of it, and none an OK of what isn't one. What a well-formed OK is `is_a_good_ok` says,
which shares no code with any of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace
from scripted_host import PATIENCE_S, ScriptedProcess, hello, in_thread
from steady_fuzz import VALUES, mutated

from procvision_runner import Runner
from procvision_runner.connection.client import Client
from procvision_runner.connection.steady_calls import CORE, SteadyCalls, steady_calls
from procvision_runner.images.slots import SlotPool
from procvision_runner.options import RunnerOptions
from procvision_runner.process.host_log import HostLog
from procvision_sdk.compiled import compiled
from procvision_sdk.wire.frames import frame
from procvision_sdk.wire.messages import RunnerHello
from procvision_sdk.wire.tables import ConnectionState

KINDS = ("general", "python", *(("compiled",) if compiled(CORE) else ()))
MAX_FRAME_BYTES = 64 * 1024
SOON_S = 0.004
"""What a hostile stream makes of a call shows in this time, or it left the call open: then a good answer comes."""
GIVEN_UP_S = 0.15
"""A stream that swallows the good answer, too, leaves the call to its deadline."""
SIZE = (4, 3)
LATER = (
    b'{"type":"result","request_id":"%s","phase":"%s","step_index":1,"status":"ERROR","error_code":"7777","data":{}}'
)
_OPTIONS = RunnerOptions(heartbeat=None, handshake_timeout_s=PATIENCE_S, shutdown_timeout_s=PATIENCE_S, max_slots=2)


class Unsteady:
    """Leaves every call to the general code."""

    def carry(self, pending: Any, tail: bytes | None = None) -> bool:
        return False


class Deceived:
    """A runner of one kind whose host writes what it is given. It knows a call by two before."""

    def __init__(self, kind: str) -> None:
        self.host = ScriptedProcess()
        self.runner = Runner(command=["echo"], options=_OPTIONS)
        client = Client(self.host, _OPTIONS, HostLog(self.host.stderr, 20, None))  # type: ignore[arg-type]
        shaking = in_thread(client.shake_hands)
        self.host.say(hello("pending", "arena"))
        self.host.hear(RunnerHello)
        shaking.result()
        client.table.connection.splitter.max_frame_bytes = MAX_FRAME_BYTES
        client.table.connection.max_frame_bytes = MAX_FRAME_BYTES
        self.runner._client = self.client = client
        self.runner._slots = slots = SlotPool(2, 1 << 24)
        if kind == "general":
            client.exchange = Unsteady()  # type: ignore[assignment]
        else:
            make = SteadyCalls if kind == "python" else steady_calls
            self.runner._steady = make(client, slots, _OPTIONS)
            assert (type(self.runner._steady) is SteadyCalls) is (kind == "python")
        for _ in range(2):
            assert self.outcome(good(self.next_id(), "execute"), "execute")[1] == "OK"

    def next_id(self) -> str:
        return f"call-{self.client.table.last_number + 1}"

    def outcome(self, stream: bytes, phase: str) -> tuple[Any, ...]:
        """Make a call whose host writes these bytes, and after that, where the call is open still, `LATER`."""
        self._write(stream)
        later = frame(LATER % (self.next_id().encode(), phase.encode()))
        call = self.runner.execute if phase == "execute" else self.runner.pre_execute
        lease = self.runner.lend(*SIZE)
        calling = in_thread(lambda: call(lease, pid="A", session="s", timeout_s=GIVEN_UP_S))
        calling._thread.join(SOON_S)
        if not calling.done:
            self._write(later)
        try:
            told = replace(calling.result(), elapsed_ms=0.0)
        except Exception as error:
            return (type(error).__name__,)  # its text quotes what came in one read
        finally:
            self._read()
        return (
            "result",
            told.verdict,
            told.status,
            told.phase,
            told.step_index,
            told.message,
            told.error_code,
            told.data,
        )

    def _write(self, data: bytes) -> None:
        with self.host._end_lock:  # whose descriptors are another's after its end
            if self.host.exit_status is None:
                os.write(self.host._out, data)

    def _read(self) -> None:
        """Make room for the next call."""
        with self.host._end_lock, contextlib.suppress(BlockingIOError):
            if self.host.exit_status is None:
                os.set_blocking(self.host._in, False)
                os.read(self.host._in, 1 << 16)

    @property
    def usable(self) -> bool:
        """Whether nothing of the last stream is left, so that the next can be written."""
        table = self.client.table
        is_open = self.client.alive and table.connection.state is ConnectionState.OPEN
        return is_open and not table.calls and table.connection.splitter.empty and not table.unexpected

    def close(self) -> None:
        self.host.end(0)
        self.runner.stop()


def good(request_id: str, phase: str, data: bytes = b'{"result_status":"OK","debug":{"latency_ms":0.5}}') -> bytes:
    """The frame of an answer as our host writes it."""
    if phase == "pre" and b"debug" in data:
        data = b'{"debug":{"latency_ms":0.5}}'
    text = b'{"type":"result","request_id":"%s","phase":"%s","step_index":1,"status":"OK","data":%s}'
    return frame(text % (request_id.encode(), phase.encode(), data))


RECT = '{"x":0,"y":0,"width":1,"height":1,"label":"s","score":0.5}'
# fmt: off
ODD_VALUES = (
    "null", "true", "[]", "{}", '""', "-1", "0", "1e400", "-1e400", "1e-400", "NaN", "Infinity", "-0", "-0.0", "1.5",
    '"OK"', '"ok"', '"OK\\u0000"', '"\\u004fK"', '"O\\u212a"', '" OK"', '"NG"', '["OK"]', '{"OK":1}',
    "9" * 19, "9" * 500, "-" + "9" * 400, "1" + "0" * 309, "0." + "3" * 900, "1e" + "9" * 300, "01", "+1", ".5",
    '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', f'"{"é" * 300}"', "[" * 15 + "]" * 15, "[" * 70 + "]" * 70,
    '{"a":1,"a":2}', '{"\\u0061":1,"a":2}', f"[{RECT}]", RECT, "[[]]", "[null]", f"[{RECT},{RECT}",
    f"[{RECT.replace('0.5', '1.5')}]", f"[{RECT.replace('0.5', 'NaN')}]", f"[{RECT.replace(':0,', ':-1,', 1)}]",
    f"[{RECT.replace(':1,', ':1e300,', 1)}]", f"[{','.join([RECT] * 25)}]", '[{"x":true}]', '[{"x":"0"}]',
)
OTHER_FRAMES = (
    b'{"type":"pong","state":"ready"}',
    b'{"type":"pong","state":"executing","executing":{"elapsed_ms":-1}}',
    b'{"type":"hello","sdk_version":"9"}',
    b'{"type":"shutdown","status":"OK"}',
    b'{"type":"call","request_id":"call-1","phase":"execute"}',
    b'{"type":"error","message":"x"}',
    b'{"type":"error","request_id":"call-1","error_code":"1005","data":{"kind":"timeout"}}',
    b'{"type":"result","phase":"execute","status":"OK","data":{"result_status":"OK"}}',
    b"{}", b"null", b"",
)
DOUBLED = (
    ("status", '"ERROR"'), ("data", '{"result_status":"NG","debug":{}}'), ("data", "null"), ("type", '"error"'),
    ("phase", '"pre"'), ("step_index", "2"), ("\\u0073tatus", '"ERROR"'), ("request_id", '"call-1"'),
)
# fmt: on
FIELDS = ("type", "request_id", "phase", "step_index", "status", "message", "error_code", "data", "timeout_ms", "x")
DATA_FIELDS = ("result_status", "debug", "ng_reason", "defect_rects", "position_rects", "calibration_rects", "message")


class Answering:
    """Makes what a host may write in answer to one call: nearly right, or not at all."""

    def __init__(self, request_id: str, phase: str, chance: random.Random) -> None:
        self._id, self._phase, self._chance, self._pick = request_id, phase, chance, chance.choice
        number = int(request_id[5:])
        self._ids = (f'"call-{number - 1}"', f'"call-{number + 1}"', f'"{request_id}"')
        self._right = good(request_id, phase)
        self._fields = {
            "type": '"result"', "request_id": f'"{request_id}"', "phase": f'"{phase}"', "step_index": "1",
            "status": '"OK"',
        }  # fmt: skip
        self._data = {"result_status": '"OK"'} if phase == "execute" else {}
        latency = self._pick(("0.5", "-1e308", "NaN", '"x"', None))
        if latency is not None:
            self._data["debug"] = f'{{"latency_ms":{latency}}}'

    def stream(self) -> bytes:
        """The bytes, of any kind."""
        kinds = (self._bytes, self._raw, self._field, self._datum, self._double, self._order, self._spaces)
        return self._pick((*kinds, self._field, self._datum, self._double, self._frames, self._length, self._error))()

    def _payload(self, *more: tuple[str, str], comma: str = ",", shuffled: bool = False) -> bytes:
        data = "{%s}" % ",".join(f'"{key}":{value}' for key, value in self._data.items())  # noqa: UP031 - braces
        fields = list({"data": data, **self._fields}.items() if shuffled else {**self._fields, "data": data}.items())
        if "data" in self._fields:
            fields = list(self._fields.items())
        for one in more:
            fields.insert(self._chance.randint(0, len(fields)), one)
        if shuffled:
            self._chance.shuffle(fields)
        return ("{" + comma.join(f'"{key}":{value}' for key, value in fields) + "}").encode()

    def _bytes(self) -> bytes:
        return frame(next(mutated([self._right[4:]], 1, self._chance.getrandbits(32))))

    def _raw(self) -> bytes:
        marked = b"\xef\xbb\xbf" + self._right[4:]
        return frame(self._pick((b"\0", b"[]", b'"', b"\xff\xfe", marked, *OTHER_FRAMES, *VALUES)))

    def _field(self) -> bytes:
        value = self._pick((*ODD_VALUES, *self._ids, '"execute"', '"pre"', '"ERROR"', '"error"', None))
        self._change(self._fields, self._pick(FIELDS), value)
        return frame(self._payload())

    def _datum(self) -> bytes:
        self._change(self._data, self._pick(DATA_FIELDS), self._pick((*ODD_VALUES, None)))
        return frame(self._payload())

    @staticmethod
    def _change(fields: dict[str, str], name: str, value: str | None) -> None:
        if value is None:
            fields.pop(name, None)
        else:
            fields[name] = value

    def _double(self) -> bytes:
        return frame(self._payload(self._pick(DOUBLED)))

    def _order(self) -> bytes:
        return frame(self._payload(shuffled=True))

    def _spaces(self) -> bytes:
        return frame(self._payload(comma=self._pick((", ", ",\n", ",\t ", ",\v", ",\0"))))

    def _frames(self) -> bytes:
        right, torn = self._right, frame(self._payload())[: self._chance.randint(1, 40)]
        other = self._pick((*map(frame, OTHER_FRAMES), good("call-1", self._phase), right, torn))
        return self._pick((other + right, right + other, right + right, other + other + right))

    def _length(self) -> bytes:
        payload = self._payload()
        whole = len(payload)
        claims = (0, 1, whole - 1, whole + 1, whole + 4, MAX_FRAME_BYTES, MAX_FRAME_BYTES + 1, 2**31, 2**32 - 1)
        return self._pick(claims).to_bytes(4, "big") + payload

    def _error(self) -> bytes:
        code = self._pick(('"1006"', '"1008"', '"9999"', "1006", "null", '"\\ud800"'))
        text = self._pick(('"x"', "null", '"' + "x" * 5000 + '"', "[]"))
        detail = f'{{"detail":{self._pick(ODD_VALUES)}}}'
        data = self._pick(("null", "{}", "[]", '{"kind":1}', '{"kind":"timeout","retryable":true}', detail))
        told = f'"type":"error","request_id":"{self._id}","error_code":{code},"message":{text},"data":{data}'
        return frame(f"{{{told}}}".encode())


def is_a_good_ok(stream: bytes, request_id: str, phase: str) -> bool:
    """Whether some whole frame of these bytes is an OK to this call that all readers of JSON take for one."""
    while len(stream) >= 4:
        length = int.from_bytes(stream[:4], "big")
        payload, stream = stream[4 : 4 + length], stream[4 + length :]
        if length <= MAX_FRAME_BYTES and len(payload) == length and _says_ok(payload, request_id, phase):
            return True
    return False


def _says_ok(payload: bytes, request_id: str, phase: str) -> bool:
    def refused(text: str) -> None:
        raise ValueError(text)

    try:
        told = json.loads(payload.decode(), parse_constant=refused)
        json.dumps(told, ensure_ascii=False).encode()  # a lone surrogate is no text
    except (ValueError, RecursionError):
        return False
    if type(told) is not dict or type(told.get("data", {})) is not dict:
        return False
    data = told.get("data", {})
    right = told.get("type") == "result" and told.get("request_id") == request_id and told.get("status") == "OK"
    right = right and told.get("phase") == phase and type(data.get("debug", {})) is dict
    if phase == "pre":
        return right and "result_status" not in data
    return (
        right
        and data.get("result_status") == "OK"
        and data.get("defect_rects") in (None, [])
        and not data.get("ng_reason")
    )


def deceive(inputs: int, seed: int, told: Callable[[int, int], None] = lambda *_: None) -> tuple[int, int, int]:
    """Give so many streams to a runner of each kind. Return how many results, OKs among them, and errors came.

    Raises AssertionError for a stream that two of them take differently, or for an OK that is none.
    """
    chance = random.Random(seed)
    runners = {kind: Deceived(kind) for kind in KINDS}
    results = oks = errors = 0
    try:
        for number in range(inputs):
            if not all(runner.usable for runner in runners.values()):
                for kind, runner in runners.items():
                    runner.close()
                    runners[kind] = Deceived(kind)
            phase = "pre" if chance.random() < 0.2 else "execute"
            request_id = runners[KINDS[0]].next_id()
            stream = Answering(request_id, phase, chance).stream()
            outcome = _outcome(list(runners.values()), stream, phase)
            if outcome[0] != "result":
                errors += 1
            else:
                results += 1
                if outcome[1:3] == ("OK", "OK") or (phase == "pre" and outcome[2] == "OK"):
                    oks += 1
                    assert is_a_good_ok(stream, request_id, phase), (stream, outcome)
            told(number + 1, errors)
    finally:
        for runner in runners.values():
            runner.close()
    return results, oks, errors


def _outcome(runners: list[Deceived], stream: bytes, phase: str) -> tuple[Any, ...]:
    """What all of them make of a stream."""
    calling = [in_thread(runner.outcome, stream, phase) for runner in runners]
    outcomes = [running.result() for running in calling]
    assert len(set(map(repr, outcomes))) == 1, (stream, outcomes)
    first: tuple[Any, ...] = outcomes[0]
    return first
