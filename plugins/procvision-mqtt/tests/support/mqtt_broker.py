"""A real mosquitto on a port of its own, and a consumer that misses nothing."""

from __future__ import annotations

import json
import random
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from procvision_testing.hook_hosts import PATIENCE_S

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


def eventually(condition: Callable[[], Any], what: str, told: Callable[[], Any] = str) -> Any:
    """Waits until `condition` gives something true, and gives that back; `told` is asked where it doesn't."""
    deadline = monotonic() + PATIENCE_S
    while not (found := condition()):
        assert monotonic() < deadline, f"{what}: not within {PATIENCE_S:g} s {told()}"
        sleep(0.02)
    return found


def _free_port() -> int:
    """Below those that the system gives to those who ask for any: it must still be free when the broker comes again."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


class Broker:
    """Keeps what it holds for consumers over its own end; `settings` are lines of mosquitto's configuration."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.port = _free_port()
        self.address = f"127.0.0.1:{self.port}"
        state = folder / "broker"
        state.mkdir()
        self._config = state / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            "user root",
            "persistence true",
            f"persistence_location {state}/",
            "max_queued_messages 0",
            "set_tcp_nodelay true",
            *(settings or ("allow_anonymous true",)),
        ]
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Runs, and takes connections."""
        assert MOSQUITTO is not None
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        eventually(self._takes_connections, "mosquitto's start")

    def _takes_connections(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "mosquitto didn't start"
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def reload(self) -> None:
        """Reads rights and passwords again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def freeze(self) -> None:
        """Stands still: its connections are open, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """Ends at once; what lies in its connections is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            self._process = None

    def stop(self) -> None:
        """Ends in order, with what it holds on disk."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)
            self._process = None


class Consumer:
    """Subscribes for good: what comes while it is away waits in the broker."""

    def __init__(self, broker: Broker, topics: str = "#", **login: str) -> None:
        self._topics = topics
        self._lock = threading.Lock()
        self._received: list[tuple[str, dict[str, Any], bool]] = []
        self._subscribed = threading.Event()
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"consumer-{id(self)}", clean_session=False
        )
        if "username" in login:
            client.username_pw_set(login["username"], login["password"])
        if "ca_file" in login:
            client.tls_set(ca_certs=login["ca_file"])
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda *_: client.subscribe(topics, 1)
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = self._on_message
        client.connect_async("127.0.0.1", broker.port)
        client.loop_start()
        assert self._subscribed.wait(PATIENCE_S)

    def _on_message(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        with self._lock:
            self._received.append((message.topic, json.loads(message.payload), message.retain))

    def received(self, last_level: str) -> list[dict[str, Any]]:
        """The messages of the topics that end so, each once by its `id`, in order of their first arrival."""
        with self._lock:
            found = [payload for topic, payload, _ in self._received if topic.endswith(f"/{last_level}")]
            found = [payload for payload in found if isinstance(payload, dict)]
        if last_level == "health":
            return found
        first: dict[str, dict[str, Any]] = {}
        for payload in found:
            first.setdefault(payload["id"], payload)
        return list(first.values())

    def topics(self) -> set[str]:
        """All topics that something came under."""
        with self._lock:
            return {topic for topic, _, _ in self._received}

    def health(self) -> list[str]:
        """The states that were told, in order."""
        return [payload["state"] for payload in self.received("health")]

    def publish(self, topic: str, payload: object) -> None:
        """As anybody may who has the right; retained."""
        self._client.publish(topic, json.dumps(payload), 1, retain=True).wait_for_publish(PATIENCE_S)

    def close(self) -> None:
        """Ends."""
        self._client.disconnect()
        self._client.loop_stop()
