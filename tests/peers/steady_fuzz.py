"""What a stranger may send, by the million: the compiled steady calls against the code that they stand for.

Inputs are nearly right: what a peer sends, with some bytes changed, put in, left out or doubled. The compiled form may
leave any of them to the general code; what it takes it has to take as the general code does.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from procvision_sdk.errors import CallRefusedError
from procvision_sdk.wire.codec import Codec
from procvision_sdk.wire.errors import RemoteProtocolError
from procvision_sdk.wire.frames import frame
from procvision_sdk.wire.messages import Call, Result, SessionRef
from procvision_sdk.wire.tables import Role

BYTES = (
    *(bytes([byte]) for byte in b'{}[]":,\\u0123456789.-+eE \x00\x1f\x7f\x80\xc3\xa9\xffatrufnls'),
    *(
        b"null",
        b"true",
        b'""',
        b"{}",
        b"[]",
        b"1e",
        b"\\n",
        "é".encode(),
        b"\xed\xa0\x80",
        b'"a":',
        b"[" * 20,
        b"0" * 20,
    ),
)


def mutated(seeds: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Yield so many, each from one of the seeds: the same for the same number."""
    chance = random.Random(seed)
    bits, pick = chance.getrandbits, chance.random
    known, kinds = len(seeds), len(BYTES)
    for _ in range(count):
        data = seeds[int(pick() * known)]
        deeds = bits(5)
        while True:
            at = int(pick() * (len(data) + 1))
            deed = deeds & 3
            if deed == 0:
                data = data[:at] + BYTES[int(pick() * kinds)] + data[at + 1 :]
            elif deed == 1:
                data = data[:at] + BYTES[int(pick() * kinds)] + data[at:]
            elif deed == 2:
                data = data[:at] + data[at + 1 + (bits(3) & 3) :]
            else:
                end = at + bits(5)
                data = data[:end] + data[at:]
            if deeds < 20:
                break
            deeds = bits(5)
        yield data


VALUES = (
    (
        b'{"result_status":"NG","ng_reason":"a scratch","defect_rects":[{"x":1,"y":2.5,"width":3e1,"height":4,"label":'
        b'"s","score":0.75}],"debug":{"latency_ms":0.012,"n":[1,-2,0.1,1e-7,123456789012345678,true,false,null]}}'
    ),
    b'{"a":{"b":[[[{"c":[]}]]]},"a":-0.0,"d":0.12345678901234567}',
    '["é",12345678901234567.25,-1.5e300,4.9e-324,"\\u007f"]'.encode(),
    b"[0,-0,0.0,1.0,99999999999999.9,999999999999999,0.000001]",
)
REQUEST_ID = "call-7"
PLAIN_CALL = Call(
    request_id=REQUEST_ID,
    phase="execute",
    step_index=1,
    pid="A",
    session=SessionRef(id="0123456789abcdef", context={"trace_id": "t"}),
    timeout_ms=1000,
)
COUNTS_BYTES = 17
"""Two counts, and whether the reader sleeps."""


def values(core: Any) -> tuple[tuple[bytes, ...], Callable[[bytes], bool]]:
    """The reader, against msgspec."""

    def check(data: bytes) -> bool:
        try:
            found = core.read_value(data)
        except ValueError:
            return False
        right = msgspec.json.decode(data)
        assert repr(found) == repr(right), data
        return True

    return VALUES, check


def answers(core: Any) -> tuple[tuple[bytes, ...], Callable[[bytes], bool]]:
    """A runner's template of answers, against the codec."""
    decode = Codec(Role.RUNNER).decode
    encode = msgspec.json.encode
    right = Result(request_id=REQUEST_ID, phase="execute", step_index=2, status="OK", data={})
    seeds = tuple(
        encode(replace(right, data=msgspec.json.decode(data)))
        for data in (VALUES[0], b'{"result_status":"OK","debug":{"latency_ms":0.5}}', b"{}")
    )

    def check(data: bytes) -> bool:
        try:
            found = core.read_answer(frame(data), REQUEST_ID, "execute", 2)
        except ValueError:
            return False
        told = decode(data)
        assert type(told) is Result, data
        fields = (told.request_id, told.phase, told.step_index, told.status, told.message, told.error_code)
        assert fields == (REQUEST_ID, "execute", 2, "OK", "", None), data
        assert repr(found) == repr(told.data), data
        return True

    return seeds, check


def calls(host: Any) -> tuple[tuple[bytes, ...], Callable[[bytes], bool]]:
    """A host's templates of calls, against the codec and the checks: with a picture, without one, with parameters."""
    encode = Codec(Role.RUNNER).encode
    plain = PLAIN_CALL
    meta = {"width": 4, "height": 3, "timestamp_ms": 1_700_000_000_000, "color_space": "RGB"}
    with_params = replace(
        plain, step_index=2, user_params={"level": 0.5, "area": {"x": 0, "y": 0, "width": 2, "height": 1}}
    )
    with_picture = replace(plain, shared_mem_id="arena:0:65536:8", image_meta=meta)
    seeds = tuple(map(encode, (plain, with_picture, with_params, replace(with_picture, phase="pre", timeout_ms=None))))
    for seed in (*seeds, *seeds):
        host.answers(frame(seed))
    decode, check_call, met = Codec(Role.HOST).decode, host.worker.checker.check, host.core.met
    assert all(met(frame(seed)) for seed in seeds)

    def check(data: bytes) -> bool:
        found = met(frame(data))
        if found is None:
            return False
        call, params, image_id, image_meta = found
        try:
            told = decode(data)
            assert type(told) is Call, data
            checked = check_call(told)
        except (RemoteProtocolError, CallRefusedError) as error:
            raise AssertionError(data) from error
        assert asdict(told) == asdict(call), data
        assert repr(checked.user_params) == repr(params), data
        assert (image_id, image_meta) == (told.shared_mem_id or "", told.image_meta or {}), data
        return True

    return seeds, check


def counts(host: Any) -> tuple[tuple[bytes, ...], Callable[[bytes], bool]]:
    """The counts of the memory for records, which an algorithm may overwrite: a call is answered all the same."""
    memory = bytearray(host.ring._memory)  # on the heap, where a sanitizer sees its ends
    host.ring._memory, host.ring._counts = memory, memoryview(memory)[:16].cast("Q")
    host.use_core()
    call = frame(msgspec.json.encode(PLAIN_CALL))
    host.answers(call)
    host.answers(call)
    seeds = tuple(struct.pack("<QQB", *of) for of in ((0, 0, 0), (4088, 4080, 0), (8 * 10**9, 8 * 10**9 - 512, 1)))

    def check(data: bytes) -> bool:
        memory[:COUNTS_BYTES] = data[:COUNTS_BYTES].ljust(COUNTS_BYTES, b"\0")
        before = memory[:8]
        assert len(host.answers(call)) == 1, data
        return before != memory[:8]

    return seeds, check


def latencies(core: Any) -> Callable[[int], None]:
    """The text of a float, against the encoder."""
    encode = msgspec.json.encode

    def check(microseconds: int) -> None:
        assert core.latency(microseconds).encode() == encode(microseconds / 1e3), microseconds

    return check
