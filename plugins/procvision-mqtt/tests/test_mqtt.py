"""Real hosts, a real mosquitto, a real consumer: what arrives, when the broker is away, and when hosts die."""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from mqtt_broker import MOSQUITTO, Broker, Consumer, eventually

from procvision_testing import check_hook_plugin
from procvision_testing.hook_hosts import HookHost, host_environment, install_plugged

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto isn't installed: apt-get install mosquitto")
Start = Callable[..., HookHost]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends what a test starts."""
    with ExitStack() as entered:
        yield entered


@pytest.fixture
def broker(stack: ExitStack, tmp_path: Path) -> Broker:
    """A broker that runs."""
    made = Broker(tmp_path)
    made.start()
    stack.callback(made.stop)
    return made


@pytest.fixture
def consumer(stack: ExitStack, broker: Broker) -> Consumer:
    """A consumer of everything."""
    made = Consumer(broker)
    stack.callback(made.close)
    return made


@pytest.fixture
def start(stack: ExitStack, broker: Broker, tmp_path: Path) -> Start:
    """Starts hosts of one station."""

    def begin(**options: object) -> HookHost:
        values = {"broker": broker.address, "spool": tmp_path / "spool", "station": "press-4", **options}
        named = {f"mqtt.{key}": value for key, value in values.items()}
        return stack.enter_context(HookHost(tmp_path, "--hook", "mqtt", options=named))

    return begin


def waiting(folder: Path, number: int = 0) -> int | None:
    """How many messages lie in a host's spool; None while there is no spool yet."""
    path = folder / "spool" / "press-4" / "plugged" / f"{number}.db"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            (found,) = database.execute("SELECT count(*) FROM messages").fetchone()
    except sqlite3.OperationalError:
        return None
    return int(found)


def ids(messages: list[dict[str, Any]]) -> list[str]:
    """The calls that messages tell of."""
    return [message["request_id"] for message in messages]


def test_results_alarms_and_diagnostics_have_topics_of_their_own(start: Start, consumer: Consumer) -> None:
    """One result a call, an alarm for each without a verdict, and ids that count without a gap."""
    host = start()
    answers = [host.call("ok", publish=True, context={"serial": "7"}), host.call("ng"), host.call("raise")]
    eventually(lambda: len(consumer.received("result")) == 3 and consumer.received("alarm"), "the messages")
    eventually(lambda: consumer.received("diagnostics"), "the diagnostics")
    results = consumer.received("result")
    assert ids(results) == [answer["request_id"] for answer in answers]
    assert [message["verdict"] for message in results] == ["OK", "NG", "NONE"]
    assert results[0]["context"] == {"serial": "7"}
    assert results[1]["data"]["ng_reason"] == "asked to refuse"
    (alarm,) = consumer.received("alarm")
    assert (alarm["error_kind"], alarm["request_id"]) == ("recoverable", answers[2]["request_id"])
    (diagnostics,) = consumer.received("diagnostics")
    assert diagnostics["diagnostics"]["number"] == 1
    assert consumer.topics() == {
        f"procvision/press-4/plugged/0/{kind}" for kind in ("result", "alarm", "diagnostics", "health")
    }
    everything = [*results, alarm, diagnostics]
    assert sorted(message["sequence"] for message in everything) == [1, 2, 3, 4, 5]
    assert {message["id"] for message in everything} == {f"{alarm['run']}-{number}" for number in range(1, 6)}


def test_health_is_retained_from_the_first_state_to_the_last(
    start: Start, broker: Broker, consumer: Consumer, stack: ExitStack
) -> None:
    """A later subscriber is told the last at once."""
    host = start()
    host.call()
    eventually(lambda: "ready" in consumer.health(), "ready")
    late = Consumer(broker, "procvision/+/+/+/health")
    stack.callback(late.close)
    assert eventually(late.health, "the retained health")[0] == "ready"
    assert host.shut_down() == 0
    eventually(lambda: consumer.health()[-1:] == ["closed"], "the end")
    assert "lost" not in consumer.health()
    last = consumer.received("health")[-1]
    assert (last["exit_status"], last["process_id"], last["version"]) == (0, host.process_id, "1.0")


def test_a_killed_host_leaves_its_last_will_and_its_successor_has_its_place(start: Start, consumer: Consumer) -> None:
    """The same topics, and `ready` after `lost`."""
    host = start()
    host.call()
    eventually(lambda: "ready" in consumer.health(), "ready")
    host.kill()
    eventually(lambda: consumer.health()[-1:] == ["lost"], "the last will")
    assert consumer.received("health")[-1]["process_id"] == host.process_id
    successor = start()
    eventually(lambda: consumer.health()[-1:] == ["ready"], "the successor")
    assert consumer.received("health")[-1]["process_id"] == successor.process_id
    assert {topic.split("/")[3] for topic in consumer.topics()} == {"0"}


def test_every_result_arrives_in_order_though_the_broker_is_restarted_under_load(
    start: Start, broker: Broker, consumer: Consumer
) -> None:
    """Two hosts, three sessions each, the broker stopped and started three times meanwhile."""
    hosts = [start(), start()]
    done = threading.Event()

    def drive(host: HookHost) -> dict[str, list[str]]:
        sent: dict[str, list[str]] = {}
        number = 0
        while not done.is_set() or number < 150:
            session = f"{host.process_id}-{number % 3}"
            request_id = f"{session}-{number}"
            assert host.call("ng", session=session, request_id=request_id, wait_ms=2)["status"] == "OK"
            sent.setdefault(session, []).append(request_id)
            number += 1
        return sent

    with ThreadPoolExecutor(2) as pool:
        driving = [pool.submit(drive, host) for host in hosts]
        for round_ in range(1, 4):
            eventually(lambda n=20 * round_: len(consumer.received("result")) >= n, "some results")
            broker.stop()
            threading.Event().wait(0.3)
            broker.start()
        done.set()
        sent: dict[str, list[str]] = {}
        for future in driving:
            sent |= future.result()
    expected = sum(map(len, sent.values()))
    eventually(lambda: len(consumer.received("result")) >= expected, f"all of {expected} results")
    results = consumer.received("result")
    assert len(results) == expected
    for session, requests in sent.items():
        assert ids([message for message in results if message["session_id"] == session]) == requests
    for host in hosts:
        sequences = [message["sequence"] for message in results if message["process_id"] == host.process_id]
        assert sequences == list(range(1, len(sequences) + 1))


def test_what_a_killed_host_left_in_its_spool_is_sent_by_the_next(
    start: Start, broker: Broker, consumer: Consumer, tmp_path: Path
) -> None:
    """Two hosts die while the broker is away; one successor sends what both left, then its own."""
    broker.stop()
    hosts = [start(), start()]
    sent = [
        host.call("ok", session=f"s{at}", request_id=f"{at}-{n}")["request_id"]
        for n in range(15)
        for at, host in enumerate(hosts)
    ]
    eventually(lambda: [waiting(tmp_path, at) for at in range(2)] == [15, 15], "the spools")
    for host in hosts:
        host.kill()
    successor = start()
    successor.call("ok", session="s0", request_id="0-15")
    broker.start()
    eventually(lambda: len(consumer.received("result")) >= 31, "all results")
    results = consumer.received("result")
    assert sorted(ids(results)) == sorted([*sent, "0-15"])
    for at, last in ((0, 16), (1, 15)):
        assert ids([message for message in results if message["session_id"] == f"s{at}"]) == [
            f"{at}-{n}" for n in range(last)
        ]
    eventually(lambda: waiting(tmp_path) == 0, "an empty spool")


def test_a_host_killed_under_load_loses_at_most_the_tail(start: Start, consumer: Consumer) -> None:
    """What it had not yet put into its spool; nothing in between, and nothing under two ids."""
    host = start()
    for number in range(200):
        host.call("ok", request_id=f"c{number}")
    before = len(consumer.received("result"))
    host.kill()
    start().call(request_id="the successor's")
    eventually(lambda: ids(consumer.received("result"))[-1:] == ["the successor's"], "the successor's first result")
    *results, _ = ids(consumer.received("result"))
    assert results == [f"c{number}" for number in range(len(results))]
    assert len(results) >= before


def test_a_disk_that_refuses_loses_nothing_while_the_host_lives(
    start: Start, broker: Broker, consumer: Consumer, tmp_path: Path
) -> None:
    """Messages are held in memory, and sent in order when broker and disk are back."""
    host = start()
    host.call(request_id="c0")
    eventually(lambda: len(consumer.received("result")) == 1, "the first result")
    broker.stop()
    _, hard = resource.prlimit(host.launched_process_id, resource.RLIMIT_FSIZE)
    resource.prlimit(host.launched_process_id, resource.RLIMIT_FSIZE, (1, hard))
    answers = [host.call("ng", request_id=f"c{number}") for number in range(1, 30)]
    assert {answer["data"]["result_status"] for answer in answers} == {"NG"}
    eventually(lambda: "held in memory" in host.log(), "the log naming it")
    broker.start()
    eventually(lambda: len(consumer.received("result")) == 30, "all results, with the disk still refusing")
    resource.prlimit(host.launched_process_id, resource.RLIMIT_FSIZE, (hard, hard))
    host.call(request_id="c30")
    eventually(lambda: len(consumer.received("result")) == 31, "the last result")
    assert ids(consumer.received("result")) == [f"c{number}" for number in range(31)]
    assert host.shut_down() == 0


def test_without_a_usable_folder_messages_are_held_in_memory(start: Start, consumer: Consumer, tmp_path: Path) -> None:
    """A file is where the folder should be; the log says so, and what can be sent is."""
    (tmp_path / "taken").write_text("")
    host = start(spool=tmp_path / "taken")
    host.call("ng")
    eventually(lambda: consumer.received("result"), "the result")
    assert host.log().count("no spool") == 2
    assert '"level":"warning","message":"there is no spool: ' in host.log()
    assert '"level":"info","message":"there is no spool in ' in host.log()
    assert host.shut_down() == 0


def test_a_spool_that_cannot_be_written_is_seen_by_whoever_starts_hosts(tmp_path: Path) -> None:
    """`run` tells it once, of one picture and of many; `doctor` and `procvision-host hooks` tell it before."""
    image = pytest.importorskip("PIL.Image", reason="Pillow writes the picture")
    pictures = [tmp_path / name for name in ("one.png", "two.png")]
    for path in pictures:
        image.new("L", (20, 20), 90).save(path)
    (tmp_path / "taken").write_text("")
    (tmp_path / "procvision.toml").write_text('[hooks.mqtt]\nbroker = "127.0.0.1:1"\nspool = "taken/spool"\n')
    environment = {
        **host_environment(install_plugged(tmp_path / "installed", {})),
        "PROCVISION_CONFIG": "procvision.toml",
    }

    def told(module: str, *arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)], cwd=tmp_path, env=environment, capture_output=True,
            text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    seen = f"there is no spool: {tmp_path / 'taken'} is no folder; what isn't sent is held in memory"
    run = ("procvision_tools.cli.main", "run", "plugged", "--pid", "A")
    assert told(*run, pictures[0]).count(seen) == 1
    assert told(*run, *pictures).count(seen) == 1
    assert seen in told("procvision_tools.cli.main", "doctor")
    rows = json.loads(told("procvision_host", "hooks", "--json"))
    assert [row["warnings"][0].startswith(seen) for row in rows if row["name"] == "mqtt"] == [True]


def test_a_damaged_spool_is_put_aside(start: Start, consumer: Consumer, tmp_path: Path) -> None:
    """Nothing of it is guessed at, nothing of it is deleted."""
    folder = tmp_path / "spool" / "press-4" / "plugged"
    folder.mkdir(parents=True)
    (folder / "0.db").write_bytes(b"this is no database" * 100)
    host = start()
    host.call()
    eventually(lambda: consumer.received("result"), "the result")
    assert any(path.name.startswith("0.db.damaged-") for path in folder.iterdir())
    assert "is damaged" in host.log()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_broker_that_refuses_the_login_costs_no_verdict(stack: ExitStack, tmp_path: Path, protocol: str) -> None:
    """The results wait in the spool until somebody with the right password comes."""
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "line", "secret"], check=True, capture_output=True)
    broker = Broker(tmp_path, "allow_anonymous false", f"password_file {passwords}")
    broker.start()
    stack.callback(broker.stop)
    consumer = Consumer(broker, username="line", password="secret")
    stack.callback(consumer.close)
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("secret\n")
    wrong.write_text("guess\n")

    def begin(password_file: Path) -> HookHost:
        values = {"broker": broker.address, "spool": tmp_path / "spool", "station": "press-4", "username": "line"}
        values |= {"password_file": str(password_file), "protocol": protocol}
        return stack.enter_context(HookHost(tmp_path, options={f"mqtt.{key}": value for key, value in values.items()}))

    host = begin(wrong)
    assert host.call("ng", request_id="first")["data"]["result_status"] == "NG"
    eventually(lambda: "the broker refuses" in host.log(), "the log naming it")
    assert host.shut_down() == 0
    host = begin(right)
    host.call(request_id="second")
    eventually(lambda: len(consumer.received("result")) == 2, "both results")
    assert ids(consumer.received("result")) == ["first", "second"]


def test_what_the_broker_may_not_take_waits_until_it_may(stack: ExitStack, tmp_path: Path) -> None:
    """A right that is missing costs no result."""
    rights = tmp_path / "rights"
    rights.write_text("topic readwrite procvision/+/+/+/health\ntopic read #\n")
    broker = Broker(tmp_path, "allow_anonymous true", f"acl_file {rights}")
    broker.start()
    stack.callback(broker.stop)
    consumer = Consumer(broker)
    stack.callback(consumer.close)
    values = {"broker": broker.address, "spool": tmp_path / "spool", "station": "press-4"}
    named = {f"mqtt.{key}": value for key, value in values.items()}
    host = stack.enter_context(HookHost(tmp_path, options=named))
    for number in range(3):
        host.call(request_id=f"c{number}")
    eventually(lambda: "doesn't take a message" in host.log(), "the log naming it", host.log)
    rights.write_text("topic readwrite #\n")
    broker.reload()
    eventually(lambda: len(consumer.received("result")) == 3, "all results")
    assert ids(consumer.received("result")) == ["c0", "c1", "c2"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl isn't installed")
def test_with_a_ca_file_the_connection_is_tls_and_the_broker_known(stack: ExitStack, tmp_path: Path) -> None:
    """And one whose certificate is somebody else's gets nothing."""
    for name in ("broker", "stranger"):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-keyout", f"{name}.key", "-out", f"{name}.crt", "-days", "2", "-subj", "/CN=127.0.0.1"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    tls = f"certfile {tmp_path}/broker.crt\nkeyfile {tmp_path}/broker.key"
    broker = Broker(tmp_path, "allow_anonymous true", tls)
    broker.start()
    stack.callback(broker.stop)
    consumer = Consumer(broker, ca_file=str(tmp_path / "broker.crt"))
    stack.callback(consumer.close)

    def begin(ca_file: Path) -> HookHost:
        values = {"broker": broker.address, "spool": tmp_path / "spool", "station": "press-4", "ca_file": ca_file}
        return stack.enter_context(HookHost(tmp_path, options={f"mqtt.{key}": value for key, value in values.items()}))

    host = begin(tmp_path / "stranger.crt")
    host.call(request_id="first")
    eventually(lambda: "certificate verify failed" in host.log(), "the log naming it")
    host.shut_down()
    assert consumer.received("result") == []
    host = begin(tmp_path / "broker.crt")
    host.call(request_id="second")
    eventually(lambda: len(consumer.received("result")) == 2, "both results")
    assert ids(consumer.received("result")) == ["first", "second"]


def test_a_message_over_the_bound_loses_its_data_and_says_so(start: Start, consumer: Consumer) -> None:
    """Broker and consumer can rely on the bound; the verdict is there."""
    host = start(max_message_kib=4)
    host.call("ng", context={"long": "x" * 5000})
    (result,) = eventually(lambda: consumer.received("result"), "the result")
    assert result["verdict"] == "NG"
    assert result["cut_bytes"] > 5000
    assert "context" not in result


@pytest.mark.parametrize(
    "options",
    [
        {"broker": "nowhere:port"},
        {"broker": ":1883"},
        {"station": "a/b"},
        {"station": "a+"},
        {"prefix": "#"},
        {"password_file": "/nowhere"},
        {"ca_file": "/nowhere"},
    ],
)
def test_a_wrong_configuration_is_named(options: dict[str, str]) -> None:
    """Option and value, before anything is opened."""
    from procvision_mqtt.settings import OPTIONS, read

    values = {option.key: option.default for option in OPTIONS} | {"broker": "b", "spool": "/tmp/none"}
    assert read(values).port == 1883
    ((key, value),) = options.items()
    with pytest.raises((ValueError, OSError), match=value) as raised:
        read(values | options)
    assert key in str(raised.value) or value in str(raised.value)


def test_it_holds_to_what_a_host_relies_on(broker: Broker, tmp_path: Path) -> None:
    """The SDK's own check."""
    check_hook_plugin("mqtt", options={"broker": broker.address, "spool": tmp_path / "spool"})


# --- two hosts of one name --------------------------------------------------------------------------------------


def test_two_machines_with_one_station_name_are_named_and_go_on(
    start: Start, consumer: Consumer, tmp_path: Path
) -> None:
    """Each with a spool of its own, as on machines of their own: nobody's connection is taken, no health flaps."""
    first = start(spool=tmp_path / "one")
    eventually(lambda: "ready" in consumer.health(), "the first")
    second = start(spool=tmp_path / "two")
    eventually(lambda: "another client with this id" in first.log(), "the first one's log", first.log)
    assert f"process {second.process_id}" in first.log()
    for host in (first, second):
        host.call("ok")
    eventually(lambda: len(consumer.received("result")) == 2, "both results")
    assert {result["run"] for result in consumer.received("result")} == {
        health["run"] for health in consumer.received("health")
    }
    assert "lost" not in consumer.health()
    assert "no connection" not in first.log() + second.log()
    # The second one's end is not the first one's.
    second.shut_down()
    eventually(lambda: consumer.received("health")[-1]["process_id"] == first.process_id, "the first, again")
    assert consumer.health()[-1] == "ready"


def test_a_predecessors_late_last_will_is_written_over(start: Start, consumer: Consumer, broker: Broker) -> None:
    """As a broker sends it that learns by its patience alone that a machine is gone."""
    start()
    eventually(lambda: "ready" in consumer.health(), "ready")
    topic = next(topic for topic in consumer.topics() if topic.endswith("/health"))
    late = Consumer(broker, "nothing")
    late.publish(topic, {"kind": "health", "state": "lost", "run": "0" * 12})
    late.close()
    eventually(lambda: "lost" in consumer.health() and consumer.health()[-1] == "ready", "written over")


def test_nonsense_under_the_health_topic_harms_nothing(start: Start, consumer: Consumer, broker: Broker) -> None:
    """Neither no JSON nor JSON of another form."""
    host = start()
    eventually(lambda: "ready" in consumer.health(), "ready")
    topic = next(topic for topic in consumer.topics() if topic.endswith("/health"))
    late = Consumer(broker, "nothing")
    for nonsense in ([1], "text", {"run": {"deep": []}, "state": ["ready"]}):
        late.publish(topic, nonsense)
    late.close()
    host.call("ok")
    eventually(lambda: consumer.received("result"), "a result")
