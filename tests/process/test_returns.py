"""What an algorithm returns: nothing missing or malformed becomes an OK."""

from __future__ import annotations

import pytest
from wire_client import WireClient

MALFORMED = [
    "return-none",
    "return-string",
    "return-list",
    "return-nan",
    "return-bytes",
    "return-array",
    "return-object",
    "return-cyclic",
    "return-integer-keys",
    "return-ng-without-reason",
    "return-ng-without-rects",
    "return-no-status",
    "return-no-verdict",
    "return-true-as-verdict",
    "return-ok-with-defects",
    "return-error-with-verdict",
    "return-surrogate",
]


@pytest.mark.parametrize("deed", MALFORMED)
def test_malformed_return_value_is_an_error(lasting_host: WireClient, deed: str) -> None:
    """1006 with its place in words, and the host goes on."""
    answer = lasting_host.call(deed)
    assert (answer["type"], answer["error_code"], answer["data"]["kind"]) == ("error", "1006", "bad_result")
    assert not answer["data"]["retryable"]
    assert answer["message"]
    assert lasting_host.call()["data"]["result_status"] == "OK"


def test_integer_that_no_peer_could_read_is_never_written_wrong(lasting_host: WireClient) -> None:
    """Either the exact digits or an error."""
    answer = lasting_host.call("return-huge-integer")
    assert answer["type"] == "error" or answer["data"]["debug"]["serial"] == 10**30


@pytest.mark.parametrize("depth", [50, 100, 5000])
def test_deep_return_value_never_breaks_the_nesting_bound(lasting_host: WireClient, depth: int) -> None:
    """What nests too deep is an error; what fits goes out."""
    answer = lasting_host.call("return-deep", params={"count": depth})
    assert (answer["type"] == "result") == (depth == 50)
    assert answer.get("error_code") == (None if depth == 50 else "1006")


def test_twenty_one_rects_are_cut_to_the_best_twenty(lasting_host: WireClient) -> None:
    """The worst-scored goes, the order stays, debug and the log say so."""
    call = lasting_host.send_call("return-rects", params={"count": 21})
    answer = lasting_host.answer(call)
    rects = answer["data"]["defect_rects"]
    assert [rect["x"] for rect in rects] == list(range(1, 21))
    assert answer["data"]["debug"]["truncated"] == 21
    assert answer["data"]["result_status"] == "NG"
    lasting_host.log("21 defect_rects", level="warning", request_id=call)


def test_twenty_rects_stay(lasting_host: WireClient) -> None:
    """The bound itself is allowed, and so is none."""
    answer = lasting_host.call("return-rects", params={"count": 20})
    assert len(answer["data"]["defect_rects"]) == 20
    assert "truncated" not in answer["data"]["debug"]
    assert lasting_host.call("return-rects", params={"count": 0})["data"]["defect_rects"] == []


@pytest.mark.parametrize("deed", ["return-rect-outside", "return-rect-negative"])
def test_rect_outside_the_picture_is_an_error(lasting_host: WireClient, deed: str) -> None:
    """1007: a box that nobody can draw is no finding."""
    from shared_picture import grey, shared_picture

    with shared_picture(grey(), 8, 6) as picture:
        answer = lasting_host.call(deed, **picture.fields)
    assert (answer["type"], answer["error_code"], answer["data"]["kind"]) == ("error", "1007", "rect_outside")


def test_numpy_scalars_become_plain_numbers(lasting_host: WireClient) -> None:
    """What an algorithm computes is what it may return."""
    answer = lasting_host.call("return-numpy-scalars")
    assert answer["data"]["result_status"] == "NG"
    assert answer["data"]["defect_rects"] == [
        {"x": 1, "y": 2, "width": 3.0, "height": 4.0, "label": "dent", "score": 0.5}
    ]
    assert answer["data"]["debug"]["n"] is True


def test_returned_error_is_a_result_of_status_error(lasting_host: WireClient) -> None:
    """The algorithm's own words and code; no verdict."""
    answer = lasting_host.call("return-failed")
    assert (answer["type"], answer["status"]) == ("result", "ERROR")
    assert (answer["error_code"], answer["message"]) == ("V-17", "the lamp is off")
    assert "result_status" not in answer["data"]


def test_pre_with_a_verdict_is_an_error(lasting_host: WireClient) -> None:
    """`pre` decides nothing."""
    answer = lasting_host.call("return-rects", phase="pre")
    assert (answer["type"], answer["error_code"]) == ("error", "1006")
    assert lasting_host.call("nothing", phase="pre")["data"].get("result_status") is None


def test_diagnostics_go_out_with_their_own_call_only(lasting_host: WireClient) -> None:
    """Under data.debug, with latency_ms always there."""
    debug = lasting_host.call("publish", params={"text": "blobs", "count": 7})["data"]["debug"]
    assert debug["blobs"] == 7
    assert debug["latency_ms"] >= 0
    assert set(lasting_host.call()["data"]["debug"]) == {"latency_ms"}


def test_algorithm_that_loses_its_own_tools_is_still_answered_for(lasting_host: WireClient) -> None:
    """An algorithm may overwrite its attributes; the host keeps what it needs."""
    assert lasting_host.call("lose-diagnostics")["status"] == "OK"
    assert lasting_host.call()["status"] == "OK"
    assert lasting_host.ping()["state"] == "ready"
