"""Writes what is generated of the reference: `python docs/generate.py`, or `--check` to only compare.

A region stands between `<!-- begin generated: NAME -->` and `<!-- end generated -->`. What the code knows (fields,
states, transitions, codes, kinds, statuses, limits) is taken from it; what it doesn't, the meaning of each in words,
stands in here. A field, state, code or kind without words is a KeyError, and so a failing test.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec.inspect as mi
from msgspec import NODEFAULT

from procvision_host import exits
from procvision_host.options import DEFAULT_SHUTDOWN_GRACE_S
from procvision_sdk.answers import MAX_DEFECT_RECTS
from procvision_sdk.errors import ErrorCode
from procvision_sdk.images import layout
from procvision_sdk.images.meta import MAX_PIXELS, ImageMeta
from procvision_sdk.plain import MAX_DEPTH
from procvision_sdk.wire import messages as m
from procvision_sdk.wire.connection import DEFAULT_HANDSHAKE_TIMEOUT_S, DEFAULT_MAX_PENDING
from procvision_sdk.wire.errors import REFUSALS
from procvision_sdk.wire.frames import DEFAULT_MAX_FRAME_BYTES
from procvision_sdk.wire.heartbeat import HeartbeatPolicy
from procvision_sdk.wire.tables import STATUS_TRANSITIONS, TRANSITIONS, ConnectionState, Role

REFERENCE = Path(__file__).parent / "reference" / "protocol.md"
REGION = re.compile(r"(<!-- begin generated: (?P<name>[\w-]+) -->\n)(?P<body>.*?)(<!-- end generated -->)", re.DOTALL)

FIELDS: dict[str, str] = {
    "Message.request_id": "names the frame; an answer repeats the `request_id` of what it answers",
    "Message.timestamp_ms": "when it was sent, Unix milliseconds; nothing depends on it",
    "HostHello.sdk_version": "the protocol that the host speaks, `major.minor`",
    "HostHello.capabilities": "what the host understands beyond the outline protocol, see below",
    "HostHello.algorithm": "the algorithm as it was asked for; its version follows with the first pong in state ready",
    "HostHello.process_id": "the host's process id at the operating system",
    "RunnerHello.runner_version": "the protocol that the runner speaks, `major.minor`",
    "RunnerHello.capabilities": "what the runner understands beyond the outline protocol; none is defined yet",
    "RunnerHello.heartbeat_interval_ms": "how often the runner is going to ping; for the host's information",
    "RunnerHello.heartbeat_grace_ms": "how long the runner waits for a pong; for the host's information",
    "AlgorithmName.name": "the name of its entry point and its manifest",
    "AlgorithmName.version": "its version, once it is known",
    "Call.phase": "`pre`, `execute`, `info` or `reset`; anything else, and none, is answered with `error` 1000 "
    "`unknown_phase`",
    "Call.step_index": "the step of the manifest, from 1; required by `pre` and `execute`",
    "Call.pid": "the product id; required by `pre` and `execute`",
    "Call.session": "the inspection it belongs to; required by `pre`, `execute` and `reset`",
    "Call.user_params": "the step's parameters by key; what is left out has the manifest's default",
    "Call.shared_mem_id": "names the picture, opaque; see Images. Left out by a call without a picture",
    "Call.image_meta": "describes the picture; required where `shared_mem_id` is given, and only there",
    "Call.timeout_ms": "above 0: the host answers with `error` 1005 if the algorithm hasn't by then",
    "Call.data": "an object in which the fields above may also stand, null for left out; a field at the top that isn't "
    "null wins",
    "SessionRef.id": "1 to 256 characters, the same for all calls of one inspection",
    "SessionRef.context": "what the algorithm may read: product code, trace id (`trace_id` also goes into the log)",
    "SessionRef.final": "the session's state is dropped after this call",
    "ImageMeta.width": "in pixels, at least 1",
    "ImageMeta.height": "in pixels, at least 1",
    "ImageMeta.timestamp_ms": "when it was taken, Unix milliseconds",
    "ImageMeta.camera_id": "which camera took it",
    "ImageMeta.color_space": "the order of the samples in memory",
    "ImageMeta.encoding": "how they lie in memory",
    "ImageMeta.bits": "used bits of a sample, 8 to 16; left out: 8 where it is raw, else what the file says",
    "Pong.state": "the host's status: `starting`, `ready`, `executing` or `draining`",
    "Pong.executing": "the call in flight, while there is one",
    "Pong.algorithm": "name and version, once: with the first pong in state `ready`",
    "Pong.host_version": "the version of the host, with the same pong",
    "InFlight.request_id": "the call's, if it had one",
    "InFlight.elapsed_ms": "how long it has been executing, in milliseconds",
    "Shutdown.status": "left out by the runner; in the host's last frame `OK`, or `ERROR` if it exits with another "
    "status than 0",
    "Result.phase": "the call's",
    "Result.step_index": "the call's, if it had one",
    "Result.status": "whether the call came to its end as meant; never left out, and nothing missing becomes OK",
    "Result.message": "for a person",
    "Result.error_code": "with `ERROR`: an error code",
    "Result.data": "what was found, see below",
    "Error.status": "always `ERROR`",
    "Error.message": "for a person: what, where, the bound and the value, then maybe `hint:`",
    "Error.error_code": "an error code",
    "Error.data": "for a program",
    "ErrorData.kind": "a word for what went wrong, see Kinds",
    "ErrorData.retryable": "whether the same call may succeed if it is made again",
    "ErrorData.detail": "any JSON that helps; for an exception `{exception, where, detail}`",
}
CODES: dict[ErrorCode, str] = {
    ErrorCode.PROTOCOL: "a frame was refused",
    ErrorCode.INVALID_PID: "the manifest doesn't support this product id",
    ErrorCode.IMAGE_LOAD_FAILED: "the picture can't be had, or isn't the one that was meant",
    ErrorCode.ASSET_NOT_FOUND: "a model or another asset is missing",
    ErrorCode.GPU_OUT_OF_MEMORY: "the accelerator's memory ran out; retryable after a restart",
    ErrorCode.TIMEOUT: "the handshake or a call took too long",
    ErrorCode.INVALID_PARAMS: "a field of the call, a parameter, or what the algorithm returned breaks a rule",
    ErrorCode.COORDINATES_INVALID: "a rect reaches outside the picture or has no area",
    ErrorCode.CANCELLED: "the call was cancelled, or the host left before it was done",
    ErrorCode.INVALID_PACKAGE: "a package is no valid plugin, or not installed",
    ErrorCode.MANIFEST_INVALID: "the manifest is missing or breaks its schema",
    ErrorCode.INCOMPATIBLE_PYTHON: "a package needs another Python",
    ErrorCode.WHEELS_MISSING: "a package lacks wheels for this machine",
    ErrorCode.INSTALL_FAILED: "a package could not be installed",
    ErrorCode.ACTIVATION_CONFLICT: "two versions can't be active at once",
    ErrorCode.UNSAFE_UNINSTALL: "the version is in use",
    ErrorCode.UNKNOWN: "an exception without a code of its own",
}
KINDS: dict[str, tuple[str, str]] = {
    "unknown_phase": ("1000", "the call's phase is none of the four"),
    "invalid_pid": ("1001", "`pid` is missing or not supported"),
    "session": ("1006", "`session` is missing or its id too short or too long"),
    "step_index": ("1006", "`step_index` is missing or not a step of the manifest"),
    "timeout_ms": ("1006", "`timeout_ms` is not above 0"),
    "image_meta": ("1006", "`image_meta` is missing, of a wrong form or over the pixel limit"),
    "bad_parameter": ("1006", "a parameter is unknown, missing, of a wrong type or out of its bounds"),
    "bad_result": ("1006", "what the algorithm returned has not the form of an answer"),
    "bad_session": ("1006", "what the algorithm put into the session is not JSON"),
    "session_too_large": ("1006", "the session's state is over `--max-session-bytes`; what was saved before stays"),
    "session_store": ("9999", "the session store can't give or keep the state; retryable where the store says so"),
    "session_in_use": (
        "9999",
        "another host changed or ended the session while the call ran; its state stays as that one left it; retryable",
    ),
    "rect_outside": ("1007", "a rect of the answer reaches outside the picture, or has no area"),
    "bad_image_id": ("1002", "`shared_mem_id` is missing, of a wrong form or of an unknown backend"),
    "no_such_image": ("1002", "there is no such picture"),
    "stale_image": ("1002", "the picture was replaced, before the call or while the algorithm looked at it"),
    "bad_slot": ("1002", "what `shared_mem_id` names is no slot, or of a layout that the host doesn't read"),
    "slot_overrun": ("1002", "the slot's header claims more than there is"),
    "image_mismatch": ("1002", "the picture is not what `image_meta` says"),
    "image_damaged": ("1002", "an encoded picture is cut or damaged"),
    "decoder_missing": ("1002", "the host can't decode this encoding"),
    "not_this_calls_image": ("1002", "the algorithm asked for another picture than its call's"),
    "image_backend": ("1002", "the image backend failed in a way that it has no kind for"),
    "no_host": ("1002", "a picture was asked for outside of a host"),
    "timeout": ("1005", "the algorithm did not answer within `timeout_ms`; retryable"),
    "handshake_timeout": ("1005", "the runner's hello did not come in time; no `request_id`"),
    "cancelled": ("1008", "the call was cancelled, while it waited or while it ran"),
    "draining": ("1008", "the host left before the call was done; retryable. With 1000: the call came after that"),
    "recoverable": ("the exception's", "the algorithm raised RecoverableError; retryable"),
    "gpu_out_of_memory": ("1004", "the algorithm raised GPUOutOfMemoryError; retryable after a restart"),
    "fatal": ("the exception's", "the algorithm raised FatalError: the host answers, drains and exits 70"),
    "program": ("9999 or the exception's", "the algorithm raised anything else, SystemExit included"),
    "load_failed": ("the exception's", "the algorithm could not be imported or constructed; exit 70; no `request_id`"),
    "setup_failed": ("the exception's", "`setup()` raised; exit 70; no `request_id`"),
    "configuration": (
        "2001, 2002 or 1006",
        "unknown algorithm, bad manifest, hook plugin failed; exit 78; no `request_id`",
    ),
    "usage": ("1006", "the host's command line is wrong; exit 64; no `request_id`"),
}
STATES: dict[ConnectionState, str] = {
    ConnectionState.STARTING: "before the host's hello",
    ConnectionState.HANDSHAKING: "between the host's hello and the runner's",
    ConnectionState.OPEN: "both hellos are through: calls may be sent",
    ConnectionState.DRAINING: "the end was asked for: no new call, what was taken is answered",
    ConnectionState.CLOSED: "over: nothing is sent any more",
    ConnectionState.FAILED: "what comes in can't be followed any more and is not read; what is owed still goes out",
}
STATUS_EVENTS = {
    "loaded": "the algorithm is set up",
    "call": "a call is begun",
    "answered": "its answer is written",
    "drain": "shutdown, end of stdin, SIGTERM, SIGINT, a fatal error",
}
TITLES = {"HostHello": "hello, from the host", "RunnerHello": "hello, from the runner"}


def shown_type(kind: Any) -> str:
    """A field's type as the page names it."""
    simple: dict[Any, str] = {
        mi.StrType: "string",
        mi.IntType: "integer",
        mi.FloatType: "number",
        mi.BoolType: "boolean",
    }
    if type(kind) in simple:
        bound = getattr(kind, "max_length", None)
        return simple[type(kind)] + (f", at most {bound} characters" if bound else "")
    if isinstance(kind, mi.UnionType):
        return " or ".join(shown_type(part) for part in kind.types if not isinstance(part, mi.NoneType))
    if isinstance(kind, mi.ListType):
        return f"array of {shown_type(kind.item_type)}"
    if isinstance(kind, mi.LiteralType):
        return " or ".join(f"`{value}`" for value in kind.values)
    if isinstance(kind, mi.StructType):
        return f"object `{kind.cls.__name__}`"
    other: dict[Any, str] = {mi.DictType: "object", mi.AnyType: "any JSON"}
    return other[type(kind)]


def nullable(kind: Any) -> bool:
    """Whether null may stand for it."""
    return isinstance(kind, mi.UnionType) and any(isinstance(part, mi.NoneType) for part in kind.types)


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
    rows = ["| field | type | may be left out | meaning |", "|---|---|---|---|"]
    for field in described.fields:
        if field.name in common:
            continue
        left_out = "no" if field.required else ("yes, or null" if nullable(field.type) else "yes") + default(field)
        words = FIELDS[f"{cls.__name__}.{field.name}"]
        rows.append(f"| `{field.name}` | {shown_type(field.type)} | {left_out} | {words} |")
    return "\n".join(rows) if len(rows) > 2 else "No fields of its own."


def message_region(*classes: type[Any]) -> Callable[[], str]:
    """The tables of a message and of the objects inside it."""

    def write() -> str:
        parts = []
        for cls in classes:
            title = TITLES.get(cls.__name__)
            table = fields_table(cls, own=cls is not m.Message)
            if title is None and issubclass(cls, m.Message):
                parts.append(table)
            else:
                parts.append(f"**{title or f'`{cls.__name__}`'}**\n\n{table}")
        return "\n\n".join(parts)

    return write


def transitions_region(role: Role) -> Callable[[], str]:
    """One role's table and its diagram."""

    def write() -> str:
        rows = ["| state | may send | may receive |", "|---|---|---|"]
        for state, acts in TRANSITIONS[role].items():
            cells = []
            for way in ("send", "receive"):
                names = [
                    f"{name}" + (f" → *{target}*" if target is not state else "")
                    for (direction, name), target in acts.items()
                    if direction == way or (direction == "local" and way == "send")
                ]
                cells.append(", ".join(names) or "nothing")
            rows.append(f"| **{state}**: {STATES[state]} | {cells[0]} | {cells[1]} |")
        lines = ["```mermaid", "stateDiagram-v2", "    [*] --> starting"]
        for state, acts in TRANSITIONS[role].items():
            leading: dict[ConnectionState, list[str]] = {}
            for (direction, name), target in acts.items():
                if target is not state:
                    leading.setdefault(target, []).append(f"{name}" if direction == "local" else f"{direction} {name}")
            lines += [f"    {state} --> {target}: {', '.join(how)}" for target, how in leading.items()]
        lines += ["    closed --> [*]", "    failed --> [*]", "```"]
        return "\n".join([*rows, "", *lines])

    return write


def status_region() -> str:
    """The host status: its table and its diagram."""
    rows = ["| event | meaning | from → to |", "|---|---|---|"]
    for event, meaning in STATUS_EVENTS.items():
        ways = [f"{status} → {to[event]}" for status, to in STATUS_TRANSITIONS.items() if event in to]
        rows.append(f"| {event} | {meaning} | {', '.join(ways)} |")
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> starting"]
    for status, targets in STATUS_TRANSITIONS.items():
        lines += [f"    {status} --> {target}: {event}" for event, target in targets.items() if target is not status]
    return "\n".join([*rows, "", *lines, "    draining --> [*]", "```"])


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
        ("a runner pings every", f"{beat.interval_s:g} s", "yes"),
        ("and waits for a pong", f"{beat.grace_s:g} s, {beat.misses_allowed} times in a row", "yes"),
        ("pixels of a picture", f"{MAX_PIXELS // 1_000_000} million", "`--max-megapixels`"),
        ("`defect_rects` of an answer", f"{MAX_DEFECT_RECTS}, the best-scored are kept", "no"),
    ]
    return "\n".join(
        ["| what | bound | can be changed |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    )


def refusals_region() -> str:
    """What the wire itself refuses."""
    return "\n".join(
        ["| kind | refused is |", "|---|---|", *(f"| `{kind}` | {text} |" for kind, text in REFUSALS.items())]
    )


def codes_region() -> str:
    """The error codes."""
    return "\n".join(["| code | meaning |", "|---|---|", *(f"| `{code}` | {CODES[code]} |" for code in ErrorCode)])


def kinds_region() -> str:
    """The kinds that are not the wire's own."""
    rows = [f"| `{kind}` | {code} | {text} |" for kind, (code, text) in KINDS.items()]
    return "\n".join(["| kind | code | meaning |", "|---|---|---|", *rows])


def slot_header_region() -> str:
    """The slot's header, as the module that reads and writes it documents it."""
    documented = (layout.__doc__ or "").splitlines()
    first = next(place for place, line in enumerate(documented) if line.split() == ["offset", "bytes"])
    rows = ["| offset | bytes | what |", "|---|---|---|"]
    for line in documented[first + 1 :]:
        if not line.strip():
            break
        offset, size, what = line.split(None, 2)
        rows.append(f"| {offset} | {size} | {what} |")
    return "\n".join(rows)


def exits_region() -> str:
    """The exit statuses."""
    return "\n".join(
        ["| status | meaning |", "|---|---|", *(f"| {code} | {text} |" for code, text in exits.MEANINGS.items())]
    )


REGIONS: dict[str, Callable[[], str]] = {
    "limits": limits_region,
    "refusals": refusals_region,
    "states-host": transitions_region(Role.HOST),
    "states-runner": transitions_region(Role.RUNNER),
    "host-status": status_region,
    "exit-statuses": exits_region,
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
    "codes": codes_region,
    "kinds": kinds_region,
}


def generated(page: str) -> str:
    """The page with every region written anew."""
    return REGION.sub(lambda found: f"{found[1]}{REGIONS[found['name']]()}\n{found[4]}", page)


def main() -> int:
    """Writes the pages, or with --check says whether they are up to date."""
    import commands  # beside this script

    new = {REFERENCE: generated(REFERENCE.read_text("utf-8")), commands.PAGE: commands.page()}
    if "--check" in sys.argv[1:]:
        return int(any(not path.exists() or path.read_text("utf-8") != text for path, text in new.items()))
    for path, text in new.items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
