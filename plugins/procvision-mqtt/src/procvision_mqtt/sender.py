"""Gets the spool's messages to the broker, in order, and the health beside them, on a thread of its own.

The strategy: a client of paho lives for one connection. Nothing is published before the broker has accepted it, and
nothing is remembered by it afterwards: the next connection begins with the first message that was not acknowledged.
So a message may arrive twice, and none overtakes another. At most `WINDOW` messages are on their way at once.
A sender listens to its own health topic. What comes there of another run is of a predecessor whose last will was late,
and is written over, or of a second host of the same name, and is told in the log. So that two of those don't take each
other's connection away, a client's id ends with its run.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from threading import Condition, Thread
from time import monotonic
from typing import Any

import msgspec
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from procvision_mqtt.settings import Settings
from procvision_mqtt.spool import Message, Spool

WINDOW = 20
"""What mosquitto takes from one client unacknowledged by default, and paho sends."""
QOS = 1
CONNECT_TIMEOUT_S = 10.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
"""Pauses between attempts double from the first to the longest."""
LOOK_S = 1.0
"""How often what is held in memory is looked after where nothing else happens."""
MAX_CLONES_TOLD = 16
_ENDED = ("lost", "closed")
_PROTOCOLS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
_log = logging.getLogger("procvision_mqtt")


class Sender:
    """Runs until it is closed; whatever the broker does, it tries again."""

    def __init__(self, settings: Settings, spool: Spool, client_id: str, health_topic: str) -> None:
        self._settings = settings
        self._spool = spool
        self._client_id = client_id
        self._health_topic = health_topic
        self._changed = Condition()
        self._health: dict[str, Any] = {}
        self._health_is_new = False
        self._appended = False
        self._closing = False
        self._deadline = 0.0
        self._attempts = 0
        self._may_listen = True
        """False where the broker ended a connection that asked for its own health topic."""
        self._told_of: set[str] = set()
        """The runs of other hosts with this name that the log has named."""
        self._thread = Thread(target=self._run, name="procvision-hook-mqtt", daemon=True)

    # --- asked for by the plugin's thread -------------------------------------------------------------------

    def start(self) -> None:
        """Begins to connect."""
        self._thread.start()

    def tell_health(self, health: Mapping[str, Any]) -> None:
        """Publish the health, now or with the next connection."""
        with self._changed:
            self._health = dict(health)
            self._health_is_new = True
            self._changed.notify_all()

    def message_was_appended(self) -> None:
        """There is something to send."""
        with self._changed:
            self._appended = True
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """Send what waits, in at most so long, and say goodbye; what is left stays in the spool."""
        with self._changed:
            self._closing = True
            self._deadline = monotonic() + timeout_s
            self._changed.notify_all()
        self._thread.join(timeout_s + 0.2)

    # --- on the thread of its own ---------------------------------------------------------------------------

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                if self._connect_and_send():
                    pause_s = FIRST_PAUSE_S
            except Exception as error:  # noqa: BLE001 - whatever is wrong with this connection, there is another one
                self._failed(error)
            with self._changed:
                if self._changed.wait_for(lambda: self._closing, pause_s):
                    return
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _connect_and_send(self) -> bool:
        """Whether the connection was of use: a broker that accepts and takes nothing isn't asked again at once."""
        connection = Connection(self._client(), self._settings, self._changed)
        try:
            if connection.accepted():
                _log.info("connected to %s, %d messages wait", self._settings.broker, self._spool.waiting())
                self._send(connection)
            if not self._closing:
                self._failed(connection.reason or "no answer to CONNECT")
            return connection.was_of_use
        finally:
            self._may_listen = self._may_listen and not connection.waits_to_listen
            connection.end()

    def _failed(self, why: object) -> None:
        self._attempts += 1
        if self._attempts & (self._attempts - 1) == 0:
            _log.warning(
                "no connection to %s (attempt %d): %s; %d messages wait in the spool",
                self._settings.broker, self._attempts, why, self._spool.waiting(),
            )  # fmt: skip

    def _send(self, connection: Connection) -> None:
        """Until the connection ends, or all is sent and the end was asked for."""
        sent = 0
        self._health_is_new = True
        while connection.reason is None:
            if self._health_is_new:
                self._health_is_new = False
                connection.publish(self._health_topic, msgspec.json.encode(self._health), retain=True)
                if self._may_listen and not connection.listens:
                    # Behind the own health: what is retained there from now on is newer.
                    connection.listen(self._health_topic)
            for heard in connection.heard():
                self._look_at(heard)
            acknowledged = connection.acknowledged()
            if acknowledged:
                self._attempts = 0
                self._spool.remove(acknowledged)
            messages = self._spool.after(sent, WINDOW - connection.on_the_way)
            for message in messages:
                connection.send(message)
                sent = message.number
            if self._closing and (monotonic() >= self._deadline or connection.idle):
                connection.say_goodbye()
                return
            with self._changed:
                self._changed.wait_for(lambda: self._has_work(connection), LOOK_S if not self._closing else 0.05)
                self._appended = False

    def _look_at(self, heard: bytes) -> None:
        """Look at what somebody has published as this host's health."""
        try:
            health = msgspec.json.decode(heard, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        run = str(health.get("run"))[:80]
        if run == self._health.get("run") or self._closing:
            return
        if health.get("state") in _ENDED:
            self._health_is_new = True
        elif run not in self._told_of and len(self._told_of) < MAX_CLONES_TOLD:
            self._told_of.add(run)
            _log.warning(
                "another client with this id: a host on %.80s (process %.20s) publishes under %s, too; are there two "
                "machines with one station name? hint: [hooks.mqtt] station = a name for each",
                health.get("machine"), health.get("process_id"), self._health_topic.removesuffix("/health"),
            )  # fmt: skip

    def _has_work(self, connection: Connection) -> bool:
        return connection.has_news or self._appended or self._health_is_new

    def _client(self) -> paho.Client:
        settings = self._settings
        protocol = _PROTOCOLS[settings.protocol]
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=None if protocol is MQTTProtocolVersion.MQTTv5 else True,
            protocol=protocol,
            reconnect_on_failure=False,
        )
        if settings.username:
            client.username_pw_set(settings.username, settings.password)
        if settings.ca_file:
            client.tls_set(ca_certs=settings.ca_file)
        client.will_set(self._health_topic, msgspec.json.encode({**self._health, "state": "lost"}), QOS, retain=True)
        return client


class Connection:
    """One connection: made, used and ended by the sender's thread; paho's own thread only notes what has come.

    Raises OSError or ValueError where there is nobody.
    """

    def __init__(self, client: paho.Client, settings: Settings, changed: Condition) -> None:
        self._client = client
        self._changed = changed
        self._accepted = False
        self._acknowledged: list[int] = []
        self._numbers: dict[int, int] = {}
        self._others: set[int] = set()
        self.was_of_use = False
        """Whether the broker took one of the spool's messages."""
        self.reason: str | None = None
        """Why it has ended; None while it lives."""
        self.listens = False
        """Whether it asked for a topic."""
        self.waits_to_listen = False
        """Whether the broker has not answered that yet."""
        self._heard: list[bytes] = []
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_open = _without_delay
        client.connect(settings.host, settings.port, settings.keepalive_s)
        client.loop_start()

    def accepted(self) -> bool:
        """Wait for the broker's word."""
        with self._changed:
            self._changed.wait_for(lambda: self._accepted or self.reason is not None, CONNECT_TIMEOUT_S)
        return self._accepted and self.reason is None

    @property
    def on_the_way(self) -> int:
        """How many of the spool's messages aren't acknowledged."""
        return len(self._numbers)

    @property
    def idle(self) -> bool:
        """Whether everything was acknowledged, the health included."""
        return not self._numbers and not self._others

    @property
    def has_news(self) -> bool:
        """Whether there is something to look at."""
        return bool(self._acknowledged or self._heard) or self.reason is not None

    def listen(self, topic: str) -> None:
        """Ask for what is published under a topic. A broker that refuses it costs nothing but that."""
        self.listens = self.waits_to_listen = True
        self._check(self._client.subscribe(topic, QOS)[0])

    def heard(self) -> list[bytes]:
        """What came under that topic since the last time."""
        with self._changed:
            heard, self._heard = self._heard, []
        return heard

    def send(self, message: Message) -> None:
        """Publish one of the spool's messages."""
        info = self._client.publish(message.topic, message.payload, QOS)
        self._numbers[info.mid] = message.number
        self._check(info.rc)

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish something that isn't in the spool."""
        info = self._client.publish(topic, payload, QOS, retain)
        self._others.add(info.mid)
        self._check(info.rc)

    def acknowledged(self) -> list[int]:
        """The numbers of messages that the broker has taken since the last time."""
        with self._changed:
            mids, self._acknowledged = self._acknowledged, []
        self._others.difference_update(mids)
        taken = [self._numbers.pop(mid) for mid in mids if mid in self._numbers]
        self.was_of_use = self.was_of_use or bool(taken)
        return taken

    def say_goodbye(self) -> None:
        """End it in the way that keeps the last will from being sent."""
        self._client.disconnect()

    def end(self) -> None:
        """End its thread."""
        self._client.loop_stop()

    def _check(self, code: MQTTErrorCode) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.reason = self.reason or paho.error_string(code)

    def _end_with(self, reason: str) -> None:
        with self._changed:
            self.reason = self.reason or reason
            self._changed.notify_all()

    def _on_connect(self, _client: Any, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._end_with(f"the broker refuses: {reason}")
            return
        with self._changed:
            self._accepted = True
            self._changed.notify_all()

    def _on_disconnect(self, _client: Any, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._end_with(f"the connection ended: {reason}")

    def _on_subscribe(self, *_: Any) -> None:
        self.waits_to_listen = False

    def _on_message(self, _client: Any, _userdata: Any, message: Any) -> None:
        with self._changed:
            if len(self._heard) < WINDOW:
                self._heard.append(message.payload)
            self._changed.notify_all()

    def _on_publish(self, _client: Any, _userdata: Any, mid: int, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            # It isn't taken for sent: another try, when the one who may allow it has done so.
            self._end_with(f"the broker doesn't take a message: {reason}")
            return
        with self._changed:
            self._acknowledged.append(mid)
            self._changed.notify_all()


def _without_delay(_client: Any, _userdata: Any, opened: Any) -> None:
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
