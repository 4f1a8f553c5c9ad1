"""What nobody does by accident: answers that pretend, exceptions that can't be shown, blows from behind."""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import threading
import time

from procvision_sdk import Ok, RecoverableError

OK = {"result_status": "OK"}
RECT = {"x": 1, "y": 2, "width": 3, "height": 4, "label": "scratch", "score": 0.5}


class AgreeingText(str):
    """Equal to whatever it is compared with."""

    __slots__ = ()

    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


class AgreeingNumber(int):
    """Within whatever bounds it is held against."""

    def __lt__(self, other):
        return False

    __gt__ = __lt__

    def __le__(self, other):
        return True

    __ge__ = __le__

    def __add__(self, other):
        return 0


class AgreeingDict(dict):
    """Has whatever is looked for."""

    def get(self, key, default=None):
        return "OK"

    def __getitem__(self, key):
        return "OK"


def _ng(*rects):
    return {"status": "OK", "data": {"result_status": "NG", "ng_reason": "scratch", "defect_rects": list(rects)}}


def pretend_text(algorithm, **call):
    return {"status": AgreeingText("BAD"), "data": {"result_status": AgreeingText("BAD")}}


def pretend_number(algorithm, **call):
    return _ng(RECT | {"x": AgreeingNumber(-5), "width": AgreeingNumber(-7)})


def pretend_dict(algorithm, **call):
    return AgreeingDict()


def rect_of_bool(algorithm, **call):
    return _ng(RECT | {"x": True})


def rect_of_numpy_bool(algorithm, **call):
    import numpy as np

    return _ng(RECT | {"x": np.bool_(True)})


def rect_of_array(algorithm, **call):
    import numpy as np

    return {"status": "OK", "data": _ng()["data"] | {"defect_rects": np.zeros((1, 4))}}


def rect_as_list(algorithm, **call):
    return _ng([1, 2, 3, 4])


def rect_without_score(algorithm, **call):
    return _ng({key: value for key, value in RECT.items() if key != "score"})


def rects_as_generator(algorithm, **call):
    return {"status": "OK", "data": _ng()["data"] | {"defect_rects": (RECT for _ in range(3))}}


def score_of_nan(algorithm, **call):
    return _ng(RECT | {"score": float("nan")})


def score_of_two(algorithm, **call):
    return _ng(RECT | {"score": 2})


def infinite_rect(algorithm, **call):
    return _ng(RECT | {"x": float("inf")})


def blank_reason(algorithm, **call):
    return {"status": "OK", "data": _ng(RECT)["data"] | {"ng_reason": "  "}}


def verdict_in_small_letters(algorithm, **call):
    return {"status": "OK", "data": {"result_status": "ok"}}


def verdict_in_bytes(algorithm, **call):
    return {"status": "OK", "data": {"result_status": b"OK"}}


def coroutine(algorithm, **call):
    async def later():
        return Ok()

    made = later()
    made.close()
    return made


def surrogate_as_key(algorithm, **call):
    return {"status": "OK", "data": OK | {"debug": {"\ud800": 1}}}


def more_than_a_frame(algorithm, **call):
    return {"status": "OK", "data": OK | {"debug": {"padding": "x" * (64 << 20)}}}


def change_when_it_is_finished(algorithm, **call):
    def spoil(result):
        result["data"].update(result_status="OK", defect_rects=float("nan"))
        result["data"].pop("ng_reason")

    algorithm.spoiling.append(spoil)
    return _ng(RECT)


def change_from_a_thread(algorithm, count, **call):
    """Turns an NG into an OK and back for as long as the process lives, `count` times at the most."""
    result = _ng(RECT)

    def turn():
        for _ in range(count):
            result["data"]["result_status"] = "OK"
            result["data"]["result_status"] = "NG"

    threading.Thread(target=turn, daemon=True).start()
    return result


# --- exceptions -----------------------------------------------------------------------------------------------


class UntellableDetail:
    def __repr__(self):
        raise ValueError("no")


class UntellableError(Exception):
    @property
    def __class__(self):
        raise ValueError("no")


def raise_with_untellable_detail(algorithm, **call):
    raise RecoverableError("x", detail=UntellableDetail())


def raise_untellable(algorithm, **call):
    raise UntellableError("x")


def raise_with_odd_attributes(algorithm, **call):
    error = RecoverableError("x")
    error.retryable, error.error_code = "yes", object()
    raise error


def raise_at_length(algorithm, count, **call):
    raise RuntimeError("x" * count)


def raise_with_large_detail(algorithm, count, **call):
    raise RecoverableError("x", detail="x" * count)


def raise_bytes_as_text(algorithm, **call):
    raise RuntimeError(b"\xff\xfe".decode("utf-8", "surrogateescape"))


def raise_group(algorithm, **call):
    raise BaseExceptionGroup("several", [SystemExit(1), KeyboardInterrupt()])


def raise_its_own_cause(algorithm, **call):
    error = RuntimeError("x")
    error.__cause__ = error
    raise error


# --- from behind ----------------------------------------------------------------------------------------------


def raise_from_a_timer(algorithm, **call):
    """A timer's handler that raises, once, after the call has ended."""

    def handle(number, frame):
        raise TimeoutError("the vendor's own timer")

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.4)
    return Ok()


def raise_into_the_main_thread(algorithm, **call):
    main = ctypes.c_ulong(threading.main_thread().ident)

    def strike():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(main, ctypes.py_object(RuntimeError))

    threading.Timer(0.4, strike).start()
    return Ok()


def start_chain(algorithm, **call):
    """A process that forks itself anew and leaves, again and again: its id is never the same."""
    if not os.fork():
        os.setsid()
        while True:
            if os.fork():
                os._exit(0)
            time.sleep(0.001)
    return Ok()


def fork_many(algorithm, count, **call):
    for _ in range(count):
        if not os.fork():
            time.sleep(3600)
            os._exit(0)
    return Ok()


def replace_what_the_host_calls(algorithm, **call):
    """What a library for coroutines does, and nothing behind it."""

    def broken(*_, **__):
        raise RuntimeError("replaced")

    # Neither `time.time` nor `time.time_ns`: the standard library's logging calls one of them through the module (the
    # latter from Python 3.13 on), so without them nobody in the process could log a line.
    for module, names in {
        os: ("read", "write", "open", "close", "stat", "fstat", "pread", "preadv", "_exit"),
        select: ("poll", "select"),
        time: ("monotonic", "perf_counter", "sleep"),
    }.items():
        for name in names:
            setattr(module, name, broken)
    return Ok()


def write_frames_of_its_own(algorithm, text, **call):
    """Frames of the host, by the host's own descriptor, one a line of `text`; the answer that follows is none of it."""
    gc.unfreeze()
    ends = next(one for one in gc.get_objects() if type(one).__name__ == "HostEnds")
    for line in text.splitlines():
        payload = line.encode()
        os.write(ends.frames_out, len(payload).to_bytes(4, "big") + payload)
    return Ok()
