"""What a runner may bring along to speak with hosts of another generation of the protocol."""

from __future__ import annotations

from typing import Protocol

from procvision_sdk.wire.messages import AnyMessage, HostHello


class Dialect(Protocol):
    """Stands in for the codec once a hello of another major version has shown a host that it knows.

    No pings are sent to such a host.
    """

    def understands(self, hello: HostHello) -> bool:
        """Whether this is a host that it speaks with; asked only where the major versions differ."""

    def decode(self, raw: bytes) -> AnyMessage:
        """As the codec: one message. Raises RemoteProtocolError, never fatal."""

    def encode(self, message: AnyMessage, *, checked: bool = False) -> bytes:
        """As the codec: the payload of a message. Raises LocalProtocolError."""
