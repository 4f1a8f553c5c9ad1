"""The tables and diagrams of the protocol's reference."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import msgspec.inspect as mi
from msgspec import NODEFAULT

from generating.markdown import Regions, exit_statuses, glossary, table
from generating.protocol_words import CODES, FIELDS, KINDS, STATES, STATUS_EVENTS
from generating.structs import in_words, nullable
from procvision_host import exits
from procvision_host.options import DEFAULT_SHUTDOWN_GRACE_S
from procvision_sdk.answers import MAX_DEFECT_RECTS
from procvision_sdk.errors import ErrorCode
from procvision_sdk.images import layout
from procvision_sdk.images.meta import MAX_PIXELS, ImageMeta
from procvision_sdk.plain import MAX_DEPTH
from procvision_sdk.wire import messages as m
from procvision_sdk.wire.connection import DEFAULT_HANDSHAKE_TIMEOUT_S
from procvision_sdk.wire.errors import REFUSALS
from procvision_sdk.wire.frames import DEFAULT_MAX_FRAME_BYTES, DEFAULT_MAX_PENDING
from procvision_sdk.wire.greeting import MAX_DRAIN_TIMEOUT_S
from procvision_sdk.wire.heartbeat import HeartbeatPolicy
from procvision_sdk.wire.tables import STATUS_TRANSITIONS, TRANSITIONS, ConnectionState, Role

TITLES = {"HostHello": "hello, from the host", "RunnerHello": "hello, from the runner"}


def default(field: Any) -> str:
    """What stands for a field that is left out, where that is a value."""
    value = field.default if field.default_factory is NODEFAULT else field.default_factory()
    if value is True or value is False:
        return f": {value}".lower()
    return f": `{value}`" if isinstance(value, str) and value else ""


def fields_table(cls: type[Any], *, own: bool = True) -> str:
    """The fields of a message or of an object inside one."""
    described: Any = mi.type_info(cls)
    common = set(m.Message.__struct_fields__) if own and issubclass(cls, m.Message) else set()
    rows = []
    for field in described.fields:
        if field.name not in common:
            left_out = "no" if field.required else ("yes, or null" if nullable(field.type) else "yes") + default(field)
            words = FIELDS[f"{cls.__name__}.{field.name}"]
            rows.append((f"`{field.name}`", in_words(field.type), left_out, words))
    return table(("field", "type", "may be left out", "meaning"), rows) if rows else "No fields of its own."


def message_region(*classes: type[Any]) -> Callable[[], str]:
    """The tables of a message and of the objects inside it."""

    def write() -> str:
        parts = []
        for cls in classes:
            title = TITLES.get(cls.__name__)
            fields = fields_table(cls, own=cls is not m.Message)
            if title is None and issubclass(cls, m.Message):
                parts.append(fields)
            else:
                parts.append(f"**{title or f'`{cls.__name__}`'}**\n\n{fields}")
        return "\n\n".join(parts)

    return write


def diagram(arrows: Iterable[str], first: str = "starting") -> str:
    """A state diagram, which begins in the state `first`."""
    lines = (f"[*] --> {first}", *arrows)
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {line}" for line in lines), "```"])


def transitions_region(role: Role) -> Callable[[], str]:
    """One role's table and its diagram."""

    def write() -> str:
        rows = []
        arrows = []
        for state, acts in TRANSITIONS[role].items():
            cells = []
            for way in ("send", "receive"):
                names = [
                    f"{name}" + (f" → *{target}*" if target is not state else "")
                    for (direction, name), target in acts.items()
                    if direction == way or (direction == "local" and way == "send")
                ]
                cells.append(", ".join(names) or "nothing")
            rows.append((f"**{state}**: {STATES[state]}", *cells))
            leading: dict[ConnectionState, list[str]] = {}
            for (direction, name), target in acts.items():
                if target is not state:
                    leading.setdefault(target, []).append(f"{name}" if direction == "local" else f"{direction} {name}")
            arrows += [f"{state} --> {target}: {', '.join(how)}" for target, how in leading.items()]
        shown = table(("state", "may send", "may receive"), rows)
        return f"{shown}\n\n{diagram([*arrows, 'closed --> [*]', 'failed --> [*]'])}"

    return write


def status_region() -> str:
    """The host status: its table and its diagram."""
    rows = []
    for event, meaning in STATUS_EVENTS.items():
        ways = [f"{status} → {to[event]}" for status, to in STATUS_TRANSITIONS.items() if event in to]
        rows.append((event, meaning, ", ".join(ways)))
    arrows = [
        f"{status} --> {target}: {event}"
        for status, targets in STATUS_TRANSITIONS.items()
        for event, target in targets.items()
        if target is not status
    ]
    return f"{table(('event', 'meaning', 'from → to'), rows)}\n\n{diagram([*arrows, 'draining --> [*]'])}"


def limits_region() -> str:
    """The numbers."""
    beat = HeartbeatPolicy()
    rows = [
        ("payload of a frame", f"1 to {DEFAULT_MAX_FRAME_BYTES} bytes (64 MiB)", "`--max-frame-bytes`"),
        ("nesting of objects and arrays", f"{MAX_DEPTH} levels, the message itself included", "no"),
        ("`request_id`", f"{m.MAX_REQUEST_ID_CHARS} characters", "no"),
        ("calls waiting for their answer", str(DEFAULT_MAX_PENDING), "`--max-pending`"),
        (
            "runner's hello after the host's",
            f"{DEFAULT_HANDSHAKE_TIMEOUT_S:g} s",
            "`--handshake-timeout-s`, 0 waits for ever",
        ),
        ("running call once the host drains", f"{DEFAULT_SHUTDOWN_GRACE_S:g} s", "`--shutdown-grace-s`"),
        (
            "the host is gone after it began to drain",
            f"{MAX_DRAIN_TIMEOUT_S:g} s",
            "only shorter: `--drain-timeout-s`, `timeout_ms` of a shutdown",
        ),
        ("a runner pings every", f"{beat.interval_s:g} s", "yes"),
        ("and waits for a pong", f"{beat.grace_s:g} s, {beat.misses_allowed} times in a row", "yes"),
        ("pixels of a picture", f"{MAX_PIXELS // 1_000_000} million", "`--max-megapixels`"),
        ("`defect_rects` of an answer", f"{MAX_DEFECT_RECTS}, the best-scored are kept", "no"),
    ]
    return table(("what", "bound", "can be changed"), rows)


def kinds_region() -> str:
    """The kinds that are not the wire's own."""
    return table(("kind", "code", "meaning"), ((f"`{kind}`", code, text) for kind, (code, text) in KINDS.items()))


def slot_header_region() -> str:
    """The slot's header, as the module that reads and writes it documents it."""
    documented = (layout.__doc__ or "").splitlines()
    first = next(place for place, line in enumerate(documented) if line.split() == ["offset", "bytes"])
    lines = itertools.takewhile(str.strip, documented[first + 1 :])
    return table(("offset", "bytes", "what"), (line.split(None, 2) for line in lines))


REGIONS: Regions = {
    "limits": limits_region,
    "refusals": lambda: glossary("kind", REFUSALS, "refused is"),
    "states-host": transitions_region(Role.HOST),
    "states-runner": transitions_region(Role.RUNNER),
    "host-status": status_region,
    "exit-statuses": lambda: exit_statuses(exits.MEANINGS),
    "slot-header": slot_header_region,
    "message": message_region(m.Message),
    "hello": message_region(m.HostHello, m.RunnerHello, m.AlgorithmName),
    "call": message_region(m.Call, m.SessionRef, ImageMeta),
    "cancel": message_region(m.Cancel),
    "ping": message_region(m.Ping),
    "pong": message_region(m.Pong, m.InFlight),
    "result": message_region(m.Result),
    "error": message_region(m.Error, m.ErrorData),
    "shutdown": message_region(m.Shutdown),
    "codes": lambda: glossary("code", {code: CODES[code] for code in ErrorCode}),
    "kinds": kinds_region,
}
