"""Triggers, cameras and outputs that talk to another process: a browser's or PLC's request, a camera, a broker."""

from __future__ import annotations

import json
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import msgspec
import pytest

from procvision_station.cameras import GenicamCamera, TriggerCamera
from procvision_station.kinds import Fired, KindError, Told
from procvision_station.line.messages import Verdict
from procvision_station.outputs import MqttOptions, MqttOutput
from procvision_station.testing import check_camera, check_output, check_trigger
from procvision_station.triggers import CameraTrigger, HttpTrigger

SUPPORT = str(Path(__file__).parents[3] / "plugins" / "procvision-mqtt" / "tests" / "support")
if SUPPORT not in sys.path:
    sys.path.append(SUPPORT)
TOKEN = "a token of many letters"
SIMULATED = {"kind": "simulated", "width": 256, "height": 256, "defect_every": 0}


def made(kind, table: dict, folder: Path):
    return kind(msgspec.convert(table, kind.options), folder)


def post(trigger: HttpTrigger, body: bytes = b"", **headers: str) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{trigger.port}/", body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            assert "detail" in json.loads(error.read())
            return error.code


def test_the_trigger_http_keeps_to_the_protocol(tmp_path: Path) -> None:
    check_trigger(HttpTrigger, {"port": 0}, tmp_path)
    with pytest.raises(KindError, match="there is no token"):
        check_trigger(HttpTrigger, {"port": 0, "host": "0.0.0.0"}, tmp_path)


def test_each_request_is_a_product_with_its_serial_number(tmp_path: Path) -> None:
    trigger, stop = made(HttpTrigger, {"port": 0, "waiting": 2}, tmp_path), threading.Event()
    assert post(trigger, b'{"serial": "S-7"}') == 202
    assert post(trigger) == 202
    assert post(trigger) == 503
    assert [trigger.wait(stop), trigger.wait(stop)] == [Fired(serial="S-7"), Fired()]
    for body in (b"[1]", b"{", b'{"serial": 7}', b'{"serial": ""}', b'{"seriel": "x"}', b"\xff"):
        assert post(trigger, body) == 400, body
    assert post(trigger, b" " * 5000) == 413
    stop.set()
    assert trigger.wait(stop) is None
    trigger.close()


def test_a_token_is_asked_for_where_one_is_set(tmp_path: Path) -> None:
    trigger = made(HttpTrigger, {"port": 0, "token": TOKEN}, tmp_path)
    given = [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {TOKEN}"}]
    assert [post(trigger, **headers) for headers in given] == [401, 401, 202]
    trigger.close()


def test_a_camera_that_runs_freely_is_a_trigger_whose_picture_is_taken(tmp_path: Path) -> None:
    check_trigger(CameraTrigger, {"camera": SIMULATED, "at_most_per_s": 20}, tmp_path)
    trigger = made(CameraTrigger, {"camera": SIMULATED}, tmp_path)
    fired = trigger.wait(threading.Event())
    assert fired.picture.width == 256
    assert made(TriggerCamera, {}, tmp_path).grab(fired) is fired.picture
    trigger.close()
    for wrong in ({}, {"kind": "trigger"}, {"kind": "simulatd"}, {**SIMULATED, "width": 1}, {**SIMULATED, "high": 1}):
        with pytest.raises(KindError, match="camera"):
            made(CameraTrigger, {"camera": wrong}, tmp_path)


def test_a_genicam_camera_keeps_to_the_protocol(tmp_path: Path) -> None:
    genicam = pytest.importorskip("genicam", reason="the extra camera brings a simulated GenICam camera")
    producer = Path(genicam.__file__).with_name("viky.cti")
    check_camera(GenicamCamera, {"producers": [str(producer)], "device": "any"}, tmp_path)
    with pytest.raises(KindError, match="there is no camera 'nobody'"):
        made(GenicamCamera, {"producers": [str(producer)], "device": "nobody"}, tmp_path)


def test_a_genicam_camera_that_was_lost_is_opened_anew(tmp_path: Path) -> None:
    genicam = pytest.importorskip("genicam", reason="the extra camera brings a simulated GenICam camera")
    camera = made(GenicamCamera, {"producers": [str(Path(genicam.__file__).with_name("viky.cti"))]}, tmp_path)
    assert camera.grab(Fired()).width > 0
    camera._camera._acquirer.stop()
    camera._camera._acquirer.destroy()  # what a pulled cable leaves
    with pytest.raises(KindError):
        camera.grab(Fired())
    assert camera.grab(Fired()).width > 0
    camera.close()


@pytest.fixture
def broker(tmp_path: Path):
    support = pytest.importorskip("mqtt_broker", reason="paho-mqtt is not installed")
    if support.MOSQUITTO is None:
        pytest.skip("mosquitto is not installed; hint: apt-get install mosquitto")
    broker = support.Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


def test_a_verdict_is_told_when_the_broker_has_acknowledged_it(broker, tmp_path: Path) -> None:
    paho = pytest.importorskip("paho.mqtt.client")
    heard: list[dict] = []
    came = threading.Event()
    consumer = paho.Client(paho.CallbackAPIVersion.VERSION2)
    consumer.on_message = lambda _c, _u, message: (heard.append(json.loads(message.payload)), came.set())
    consumer.on_connect = lambda *_: consumer.subscribe("line/verdicts", qos=1)
    consumer.on_subscribe = lambda *_: came.set()
    consumer.connect("127.0.0.1", broker.port)
    consumer.loop_start()
    try:
        assert came.wait(10)
        check_output(MqttOutput, {"topic": "line/verdicts", "port": broker.port}, tmp_path)
        for _ in range(100):
            if len(heard) == 3:
                break
            came.clear()
            came.wait(0.1)
        assert [each["verdict"] for each in heard] == ["OK", "NG", "ERROR"]
    finally:
        consumer.disconnect()
        consumer.loop_stop()


def test_a_broker_that_ends_and_comes_back_hears_what_is_told_then_and_nothing_older(broker, tmp_path: Path) -> None:
    """Also not what it had before its end, and never acknowledged."""
    paho = pytest.importorskip("paho.mqtt.client")
    heard: list[str] = []
    news, subscribed = threading.Condition(), threading.Event()

    def hear(_client, _data, message) -> None:
        with news:
            heard.append(json.loads(message.payload)["key"])
            news.notify_all()

    consumer = paho.Client(paho.CallbackAPIVersion.VERSION2)
    consumer.reconnect_delay_set(1, 1)
    consumer.on_message = hear
    consumer.on_connect = lambda *_: consumer.subscribe("line/verdicts", qos=1)
    consumer.on_subscribe = lambda *_: subscribed.set()
    consumer.connect("127.0.0.1", broker.port)
    consumer.loop_start()
    output = MqttOutput(MqttOptions(topic="line/verdicts", port=broker.port, timeout_s=0.5), tmp_path)

    def told(key: str) -> Told:
        return Told("main", key, "A", Verdict.OK, "", "2026-01-01T00:00:00.000+00:00")

    def tell_when_it_can_be(key: str) -> None:
        for _ in range(40):
            try:
                output.tell(told(key))
            except KindError:
                continue
            return
        raise AssertionError("the broker never took a verdict")

    try:
        assert subscribed.wait(10)
        tell_when_it_can_be("first")
        subscribed.clear()
        broker.freeze()
        with pytest.raises(KindError, match="has not acknowledged"):
            output.tell(told("frozen"))
        broker.kill()
        with pytest.raises(KindError, match="can't be reached"):
            output.tell(told("away"))
        broker.start()
        assert subscribed.wait(20)
        tell_when_it_can_be("last")
        with news:
            assert news.wait_for(lambda: "last" in heard, 10)
        assert heard == ["first", "last"]
    finally:
        output.close()
        consumer.disconnect()
        consumer.loop_stop()


def test_a_broker_that_is_away_takes_no_verdict_and_gets_none_later(tmp_path: Path) -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    output = MqttOutput(MqttOptions(topic="t", port=9, timeout_s=0.3), tmp_path)
    with pytest.raises(KindError, match="can't be reached"):
        output.tell(Told("main", "k", "A", Verdict.OK, "", "2026-01-01T00:00:00.000+00:00"))
    output.close()
    for wrong in ({"topic": "a/#"}, {"topic": ""}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, MqttOptions)
