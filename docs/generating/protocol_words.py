"""The protocol's fields, codes, kinds, states and events in words, which no code knows.

One without words is a KeyError, and so a failing test; so are words of what is gone.
"""

from __future__ import annotations

from procvision_sdk.errors import ErrorCode
from procvision_sdk.wire.tables import ConnectionState

FIELDS: dict[str, str] = {
    "Message.request_id": "names the frame; an answer repeats the `request_id` of what it answers",
    "Message.timestamp_ms": "when it was sent, Unix milliseconds; nothing depends on it",
    "HostHello.sdk_version": "the protocol that the host speaks, `major.minor`",
    "HostHello.capabilities": "what the host understands beyond the outline protocol, see below",
    "HostHello.algorithm": "the algorithm as it was asked for; its version follows with the first pong in state ready",
    "HostHello.process_id": "the host's process id at the operating system",
    "HostHello.drain_timeout_ms": "so long after it began to drain the host is gone, whatever still runs; 10000 at the "
    "most. A host that tells it understands `timeout_ms` of `shutdown`",
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
    "Pong.state": "the host's status: `starting`, `ready`, `executing` or `draining`; only a host without the "
    "capability `pending` may leave it out",
    "Pong.executing": "the call in flight, while there is one",
    "Pong.algorithm": "name and version, once: with the first pong in state `ready`",
    "Pong.host_version": "the version of the host, with the same pong",
    "InFlight.request_id": "the call's, if it had one",
    "InFlight.elapsed_ms": "how long it has been executing, in milliseconds",
    "Shutdown.status": "left out by the runner; in the host's last frame `OK`, or `ERROR` if it exits with another "
    "status than 0",
    "Shutdown.timeout_ms": "from the runner: at least 1; so long after this frame came the host is gone, if it had "
    "more time until then. Only for a host whose hello has `drain_timeout_ms`",
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
    ErrorCode.HOOK_PLUGIN_FAILED: "a hook plugin that was asked for is broken, or its store can't be opened",
    ErrorCode.CONFIGURATION_INVALID: "the host's command line, configuration file or environment is wrong",
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
    "picture_not_read": ("1006", "`execute` returned OK for a picture that the algorithm never read"),
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
        "1009, 1010, 2001 or 2002",
        (
            "hook plugin failed, wrong configuration, unknown algorithm, bad manifest; exit 78, "
            "or 75 where a store is away"
        ),
    ),
    "usage": ("1010", "the host's command line is wrong; exit 64; no `request_id`"),
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
