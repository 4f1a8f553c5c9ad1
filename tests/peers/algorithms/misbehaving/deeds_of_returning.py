"""What it returns, well formed or not, and what it does with its picture and its session."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

from procvision_sdk import Failed, Ok, read_image_from_shared_memory

OK = {"result_status": "OK"}
RECT = {"x": 1, "y": 2, "width": 3, "height": 4, "label": "scratch", "score": 0.5}


def nothing(algorithm, **call):
    return Ok()


def return_none(algorithm, **call):
    return None


def return_string(algorithm, **call):
    return "OK"


def return_list(algorithm, **call):
    return [{"status": "OK"}]


def return_nan(algorithm, **call):
    return {"status": "OK", "data": OK | {"debug": {"mean": float("nan")}}}


def return_bytes(algorithm, **call):
    return {"status": "OK", "data": OK | {"debug": {"raw": b"\x00\x01"}}}


def return_array(algorithm, **call):
    import numpy as np

    return {"status": "OK", "data": OK | {"debug": {"profile": np.zeros(3)}}}


def return_object(algorithm, **call):
    return SimpleNamespace(status="OK")


def return_cyclic(algorithm, **call):
    data = dict(OK)
    data["debug"] = {"self": data}
    return {"status": "OK", "data": data}


def return_deep(algorithm, count, **call):
    value = 0
    for _ in range(count):
        value = [value]
    return {"status": "OK", "data": OK | {"debug": {"deep": value}}}


def return_surrogate(algorithm, **call):
    return {"status": "OK", "message": "\ud800", "data": OK}


def return_large(algorithm, count, **call):
    return {"status": "OK", "data": OK | {"debug": {"padding": "x" * count}}}


def return_huge_integer(algorithm, **call):
    return {"status": "OK", "data": OK | {"debug": {"serial": 10**30}}}


def return_integer_keys(algorithm, **call):
    return {"status": "OK", "data": OK | {"debug": {1: 2}}}


def return_rects(algorithm, count, **call):
    rects = [RECT | {"x": index, "score": (index + 1) / count} for index in range(count)]
    return {"status": "OK", "data": {"result_status": "NG", "ng_reason": "scratches", "defect_rects": rects}}


def return_rect_outside(algorithm, **call):
    rects = [RECT | {"x": 1_000_000}]
    return {"status": "OK", "data": {"result_status": "NG", "ng_reason": "scratch", "defect_rects": rects}}


def return_rect_negative(algorithm, **call):
    rects = [RECT | {"x": -1}]
    return {"status": "OK", "data": {"result_status": "NG", "ng_reason": "scratch", "defect_rects": rects}}


def return_ng_without_reason(algorithm, **call):
    return {"status": "OK", "data": {"result_status": "NG", "defect_rects": [RECT]}}


def return_ng_without_rects(algorithm, **call):
    return {"status": "OK", "data": {"result_status": "NG", "ng_reason": "scratch"}}


def return_no_status(algorithm, **call):
    return {"data": OK}


def return_no_verdict(algorithm, **call):
    return {"status": "OK", "data": {}}


def return_true_as_verdict(algorithm, **call):
    return {"status": "OK", "data": {"result_status": True}}


def return_ok_with_defects(algorithm, **call):
    return {"status": "OK", "data": OK | {"defect_rects": [RECT]}}


def return_error_with_verdict(algorithm, **call):
    return {"status": "ERROR", "message": "no", "data": OK}


def return_numpy_scalars(algorithm, **call):
    import numpy as np

    rect = {
        "x": np.int64(1),
        "y": np.uint8(2),
        "width": np.float32(3),
        "height": np.float64(4),
        "label": np.str_("dent"),
        "score": np.float16(0.5),
    }
    data = {"result_status": np.str_("NG"), "ng_reason": "dent", "defect_rects": [rect], "debug": {"n": np.bool_(True)}}
    return {"status": "OK", "data": data}


def return_failed(algorithm, **call):
    return Failed("V-17", "the lamp is off")


def publish(algorithm, text, count, **call):
    algorithm.diagnostics.publish(text, count)
    return Ok()


def lose_diagnostics(algorithm, **call):
    algorithm.diagnostics = algorithm.cancellation = algorithm.logger = None
    return Ok()


def remember(algorithm, session, text, **call):
    session.set("kept", text)
    return Ok()


def recall(algorithm, session, **call):
    return {"status": "OK", "data": OK | {"debug": {"kept": session.get("kept"), "context": dict(session.context)}}}


def remember_and_raise(algorithm, session, text, **call):
    session.set("kept", text)
    raise ValueError("after it was kept")


def remember_an_array(algorithm, session, **call):
    session.set("kept", [])
    session.get("kept").append(object())
    return Ok()


def change_context(algorithm, session, **call):
    session.context["trace_id"] = "mine"
    return Ok()


def read(algorithm, shared_mem_id, image_meta, **call):
    image = read_image_from_shared_memory(shared_mem_id, image_meta)
    corners = {"first": image[0, 0].tolist(), "last": image[-1, -1].tolist()}
    facts = {"shape": list(image.shape), "dtype": str(image.dtype), "writeable": bool(image.flags.writeable)}
    return {"status": "OK", "data": OK | {"debug": facts | corners | {"sum": int(image.sum())}}}


def read_another(algorithm, shared_mem_id, image_meta, text, **call):
    read_image_from_shared_memory(text, image_meta)
    return Ok()


def read_another_in_silence(algorithm, shared_mem_id, image_meta, text, **call):
    try:
        read_image_from_shared_memory(text, image_meta)
    except Exception:
        algorithm.logger.info("no picture, never mind")
    return Ok()


def read_and_keep(algorithm, shared_mem_id, image_meta, **call):
    algorithm.kept.append(read_image_from_shared_memory(shared_mem_id, image_meta))
    return Ok()


def read_while_waiting(algorithm, shared_mem_id, image_meta, text, **call):
    from algorithms.misbehaving.deeds_of_failure import wait_for

    image = read_image_from_shared_memory(shared_mem_id, image_meta)
    wait_for(algorithm, text=text)
    return {"status": "OK", "data": OK | {"debug": {"sum": int(image.sum())}}}


def write_picture(algorithm, shared_mem_id, image_meta, **call):
    read_image_from_shared_memory(shared_mem_id, image_meta)[0, 0] = 0
    return Ok()


def unlock_picture(algorithm, shared_mem_id, image_meta, **call):
    image = read_image_from_shared_memory(shared_mem_id, image_meta)
    image.flags.writeable = True
    image[0, 0] = 0
    return Ok()


def write_picture_in_c(algorithm, shared_mem_id, image_meta, **call):
    image = read_image_from_shared_memory(shared_mem_id, image_meta)
    ctypes.memmove(image.ctypes.data, b"\xff" * 16, 16)
    return Ok()
