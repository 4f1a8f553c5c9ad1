"""The plugin's options, checked."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from procvision_sdk.hookspecs import HookOption
from procvision_sdk.regular_files import MAX_TEXT_BYTES, read_regular

DEFAULT_PORT = 1883
DEFAULT_TLS_PORT = 8883
DEFAULT_SPOOL_MIB = 1024
"""Some million results: days of a busy station."""
DEFAULT_KEEPALIVE_S = 15
"""A broker sends the last will after one and a half times this, where the host's machine is gone with its network."""
DEFAULT_MAX_MESSAGE_KIB = 256
"""The smallest limit of the brokers that are in use for this is 128 KiB to 256 MiB; a result takes one."""

OPTIONS: Sequence[HookOption] = (
    HookOption("broker", str, help="HOST or HOST:PORT"),
    HookOption("spool", str, help="the folder for what isn't sent yet; it is made if it isn't there", hidden="folder"),
    HookOption("station", str, "", "the station's name in the topics; empty is this machine's name"),
    HookOption("prefix", str, "procvision", "what all topics begin with; it may have several levels"),
    HookOption("username", str, "", "for the broker"),
    HookOption("password_file", str, "", "a file with the password for the broker, and nothing else", hidden="file"),
    HookOption("ca_file", str, "", "certificates that the broker's is checked with; with it the connection is TLS"),
    HookOption("protocol", str, "5", "MQTT's version", choices=("5", "3.1.1")),
    HookOption("keepalive_s", int, DEFAULT_KEEPALIVE_S, "seconds without a sign until a side is given up", minimum=1),
    HookOption("max_spool_mib", int, DEFAULT_SPOOL_MIB, "the largest that the spool's file may become", minimum=1),
    HookOption("max_message_kib", int, DEFAULT_MAX_MESSAGE_KIB, "longer messages lose their `data`", minimum=4),
)


@attrs.frozen
class Settings:
    """Where to, and how."""

    host: str
    port: int
    spool: Path
    topics: str
    """Prefix and station: `procvision/press-4`."""
    station: str
    username: str
    password: str
    ca_file: str
    protocol: str
    keepalive_s: int
    max_spool_bytes: int
    max_message_bytes: int

    @property
    def broker(self) -> str:
        """For a person."""
        return f"{self.host}:{self.port}"


def read(values: Mapping[str, Any]) -> Settings:
    """The settings. Raises ValueError naming the option, or OSError for a file that can't be read."""
    station = values["station"] or platform.node()
    prefix = values["prefix"].strip("/")
    for key, text in (("station", station), ("prefix", prefix)):
        if not text or any(character in text for character in "+#\0") or (key == "station" and "/" in text):
            raise ValueError(f"{key} is {text!r}: it is a part of a topic, without +, # and NUL")
    host, _, port = values["broker"].rpartition(":") if ":" in values["broker"] else (values["broker"], "", "")
    if not host or (port and not (port.isdecimal() and 0 < int(port) < 65_536)):
        raise ValueError(f"broker is {values['broker']!r}: it is of the form HOST or HOST:PORT")
    password_file, ca_file = values["password_file"], values["ca_file"]
    if ca_file and not Path(ca_file).is_file():
        raise FileNotFoundError(f"ca_file is {ca_file}: there is no such file")
    return Settings(
        host=host.strip("[]"),
        port=int(port) if port else (DEFAULT_TLS_PORT if ca_file else DEFAULT_PORT),
        spool=Path(values["spool"]),
        topics=f"{prefix}/{station}",
        station=station,
        username=values["username"],
        password=read_regular(password_file, MAX_TEXT_BYTES).decode().rstrip("\n") if password_file else "",
        ca_file=ca_file,
        protocol=values["protocol"],
        keepalive_s=values["keepalive_s"],
        max_spool_bytes=values["max_spool_mib"] * 1024 * 1024,
        max_message_bytes=values["max_message_kib"] * 1024,
    )
