"""The options of a host: one table, and what a command line gives of them.

A plain line, such as runners write, is read here. For help, for an odd line and for a wrong one click is made of the
same table (`command_line`): importing it takes as long as a sixth of a host's start.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from stat import S_ISDIR
from typing import TYPE_CHECKING, Any

import msgspec

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.images.meta import MAX_PIXELS
from procvision_sdk.wire.connection import DEFAULT_HANDSHAKE_TIMEOUT_S
from procvision_sdk.wire.frames import DEFAULT_MAX_FRAME_BYTES, DEFAULT_MAX_PENDING
from procvision_sdk.wire.greeting import MAX_DRAIN_TIMEOUT_S, MIN_DRAIN_TIMEOUT_S

if TYPE_CHECKING:
    from procvision_host.hooks.selection import HookChoice
    from procvision_sdk.manifest.needs import Need

DEFAULT_MAX_SESSION_BYTES = 4 * 1024 * 1024
"""A session carries what was found, not pictures: some kilobytes; this is a thousand times that."""
DEFAULT_SHUTDOWN_GRACE_S = 3.0
"""The protocol's default: how long a running call may still take once the host was asked to leave."""
LOG_LEVELS = ("debug", "info", "warning", "error")
ISOLATION_LEVELS = ("off", "basic", "strict")
MEGA = 1_000_000


class HostOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `procvision-host --algo NAME` was asked for."""

    algo: str
    handshake_timeout_s: float = DEFAULT_HANDSHAKE_TIMEOUT_S
    shutdown_grace_s: float = DEFAULT_SHUTDOWN_GRACE_S
    max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES
    max_pending: int = DEFAULT_MAX_PENDING
    max_megapixels: float = MAX_PIXELS / MEGA
    sessions: str | None = None
    max_session_bytes: int = DEFAULT_MAX_SESSION_BYTES
    hooks: bool = True
    hook: tuple[str, ...] = ()
    no_hook: tuple[str, ...] = ()
    hook_option: tuple[str, ...] = ()
    config: str | None = None
    log_level: str = "info"
    isolation: str = "basic"
    isolation_missing: str = "error"
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    working_folder: str = "/"
    env: tuple[str, ...] = ()
    grant: tuple[Need, ...] = ()

    @property
    def max_pixels(self) -> int:
        """The pixel limit of a picture."""
        return int(self.max_megapixels * MEGA)

    def read_config(self, environment: Mapping[str, str]) -> Mapping[str, Any]:
        """Read the configuration file. Raises ConfigurationError if it can't be read."""
        from procvision_host.configuration import read_config

        return read_config(self.config, environment)

    def named_config(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Return the configuration file's path; nothing where none is named."""
        from procvision_host.configuration import CONFIG_VARIABLE

        named = self.config or environment.get(CONFIG_VARIABLE)
        return (os.path.abspath(named),) if named else ()  # noqa: PTH100 - links stay

    def hook_choice(self, config: Mapping[str, Any], environment: Mapping[str, str]) -> HookChoice:
        """Decide which hook plugins are used. Raises ConfigurationError."""
        from procvision_host.algorithm.sessions import chosen_store
        from procvision_host.hooks.selection import choose

        return choose(
            named=self.hooks,
            hook=self.hook,
            no_hook=self.no_hook,
            hook_option=self.hook_option,
            config=config,
            environment=environment,
            store=chosen_store(self.sessions, config, environment).partition(":")[0],
        )


class WrongCommandLineError(ProcVisionError):
    """A command line that isn't one of a host; the text says what is wrong with it."""


class OddTextError(Exception):
    """A text that click has to look at: it may be wrong, or another way to write what is meant."""


# --- what an option may be ----------------------------------------------------------------------------------


class Text:
    """Any text."""

    def plain(self, text: str) -> Any:
        """Return the value that a text stands for. Raises OddTextError where click has to say."""
        return text


class Flag:
    """Given or not; `meaning` is its value where it is given."""

    def __init__(self, *, meaning: bool) -> None:
        self.meaning = meaning


class Choice:
    """One of several texts."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def plain(self, text: str) -> Any:
        """As `Text.plain`."""
        if text not in self.texts:
            raise OddTextError
        return text


class Number:
    """A number from `least` to `most`: a finite one, or a whole one. `above` says that `least` itself is none."""

    def __init__(self, least: float, most: float | None = None, *, whole: bool = False, above: bool = False) -> None:
        self.least, self.most, self.whole, self.above = least, most, whole, above

    def plain(self, text: str) -> Any:
        """As `Text.plain`."""
        digits = text if self.whole else text.replace(".", "", 1)
        if not (text.isascii() and digits.isdecimal() and len(text) <= _MAX_DIGITS):
            raise OddTextError
        number = int(text) if self.whole else float(text)
        if number < self.least or (self.above and number == self.least):
            raise OddTextError
        if self.most is not None and number > self.most:
            raise OddTextError
        return number


class Place:
    """The path of a file, or of what may be a folder; with `exists` it is there, and may be read."""

    def __init__(self, *, folder: bool, exists: bool) -> None:
        self.folder, self.exists = folder, exists

    def plain(self, text: str) -> Any:
        """As `Text.plain`."""
        try:
            wrong = S_ISDIR(os.stat(text).st_mode) and not self.folder  # noqa: PTH116 - `pathlib` takes longer than all of this
        except OSError:
            if self.exists:
                raise OddTextError from None
        else:
            if wrong or not os.access(text, os.R_OK):
                raise OddTextError
        return text


class Granted:
    """A need, by its name."""

    def plain(self, text: str) -> Any:
        """As `Text.plain`."""
        from procvision_sdk.manifest.needs import parse_need

        try:
            return parse_need(text)
        except ValueError:
            raise OddTextError from None


class Option:
    """One option: its name, what it may be, and what is told of it."""

    __slots__ = ("default", "field", "help", "kept", "kind", "metavar", "multiple", "name")

    def __init__(
        self,
        name: str,
        kind: Text | Flag | Choice | Number | Place | Granted,
        help: str,  # noqa: A002 - as everybody calls it
        *,
        metavar: str | None = None,
        multiple: bool = False,
        field: str | None = None,
        default: Any = None,
        kept: bool = True,
    ) -> None:
        self.name = name
        self.kind = kind
        self.help = help
        self.metavar = metavar
        self.multiple = multiple
        """Whether it may be given several times, for several values; of any other the last one counts."""
        self.field = field or name.removeprefix("--").replace("-", "_")
        """Of `HostOptions`, which has its default."""
        self.kept = kept
        """Whether `HostOptions` has it. Where it doesn't the line is read before the hello, and held against this."""
        self.default = default
        """Of one that isn't kept."""


# --- the table ----------------------------------------------------------------------------------------------

CONFINING = (
    Option(
        "--isolation",
        Choice(*ISOLATION_LEVELS),
        "How far the algorithm is shut in: basic from other processes, strict from network and files, too.",
    ),
    Option(
        "--isolation-missing",
        Choice("error", "warn"),
        "What becomes of a host where this machine can't enforce all of it.",
    ),
    Option(
        "--readable",
        Place(folder=True, exists=True),
        "With --isolation strict: a file or folder that the algorithm may read, such as a model. Repeatable.",
        multiple=True,
    ),
    Option(
        "--writable",
        Place(folder=True, exists=True),
        "With --isolation strict: a file or folder that it may write, too. Repeatable.",
        multiple=True,
    ),
    Option(
        "--grant",
        Granted(),
        "With --isolation strict: a need of its manifest that it gets, such as network:10.0.0.5:502. Repeatable.",
        metavar="NEED",
        multiple=True,
    ),
)
"""Of `procvision-host confined`, too."""

_RUNNING = (
    Option("--algo", Text(), "The installed algorithm to run.", metavar="NAME[@DISTRIBUTION][==VERSION]"),
    Option("--handshake-timeout-s", Number(0), "How long to wait for the runner's hello; 0 waits for ever."),
    Option(
        "--shutdown-grace-s",
        Number(0, 9),
        "How long a running call may still take when the host is asked to leave.",
    ),
    Option(
        "--drain-timeout-s",
        Number(MIN_DRAIN_TIMEOUT_S, MAX_DRAIN_TIMEOUT_S),
        "How long the host may take to leave in all, whatever still runs: then it is ended.",
        default=MAX_DRAIN_TIMEOUT_S,
        kept=False,  # the hello tells it
    ),
    Option("--max-frame-bytes", Number(1024, 2**32 - 1, whole=True), "The largest frame that is taken or sent."),
    Option("--max-pending", Number(1, 1024, whole=True), "How many calls may wait for their answer."),
    Option("--max-megapixels", Number(0, above=True), "The largest picture that is opened or decoded."),
    Option(
        "--sessions",
        Text(),
        "The session store, such as sqlite:PATH; hook plugins may bring others.  [default: memory]",
        metavar="SCHEME[:REST]",
    ),
    Option("--max-session-bytes", Number(2, whole=True), "The largest state that a session may have."),
    *CONFINING,
    Option(
        "--working-folder",
        Text(),
        "Where the algorithm works: what its parameters' relative paths are relative to.",
        metavar="PATH",
    ),
    Option(
        "--env",
        Text(),
        "An environment variable that the algorithm gets besides those allowed; PREFIX* is several. Repeatable.",
        metavar="NAME",
        multiple=True,
    ),
    Option(
        "--platform-python",
        Text(),
        "The interpreter of the platform's environment: host half and hook plugins are of that, the algorithm's "
        "packages of the one that runs. Runners give it for deployments.",
        metavar="FILE",
        kept=False,  # packages are found by it
    ),
    Option("--log-level", Choice(*LOG_LEVELS), "What is logged."),
)

HOOKS = (
    Option(
        "--no-hooks",
        Flag(meaning=False),
        "Use no installed hook plugin but those that the command line names.",
        field="hooks",
    ),
    Option(
        "--hook",
        Text(),
        "Use this installed hook plugin; the host leaves if it can't. Repeatable.",
        metavar="NAME[@DISTRIBUTION]",
        multiple=True,
    ),
    Option("--no-hook", Text(), "Leave this hook plugin out. Repeatable.", metavar="NAME", multiple=True),
    Option("--hook-option", Text(), "A value for a hook plugin. Repeatable.", metavar="NAME.KEY=VALUE", multiple=True),
    Option(
        "--config",
        Place(folder=False, exists=False),
        "A TOML file with the tables [hooks.NAME], with sessions, and with grants.",
    ),
)
"""Those that choose hook plugins, of `procvision-host hooks`, too."""

RUNNING = (*_RUNNING, *HOOKS)
"""All of `procvision-host --algo`."""
_MAX_DIGITS = 15
"""So many are exact whatever the number is."""


# --- a command line -----------------------------------------------------------------------------------------


def parse(arguments: Sequence[str]) -> HostOptions:
    """Read a command line that names an algorithm. Raises WrongCommandLineError."""
    options = plain(arguments)
    if options is None:
        from procvision_host.command_line import parse as parse_with_click

        options = parse_with_click(arguments)
    return options


def plain(arguments: Sequence[str]) -> HostOptions | None:
    """Return what a plain command line says; None where it takes click to say what it means, or what is wrong."""
    known = {option.name: option for option in RUNNING}
    given: dict[str, list[str]] = {}
    words = iter(arguments)
    for word in words:
        name, equals, text = word.partition("=")
        option = known.get(name)
        if option is None:
            return None
        if isinstance(option.kind, Flag):
            if equals:
                return None
        elif not equals:
            text = next(words, "")
        if not isinstance(option.kind, Flag) and (not text or text.startswith("-")):
            return None
        given.setdefault(name, []).append(text)
    if "--algo" not in given:
        return None
    try:
        values = [(known[name], _value(known[name], texts)) for name, texts in given.items()]
    except OddTextError:
        return None
    return HostOptions(**{option.field: value for option, value in values if option.kept})


def _value(option: Option, texts: Sequence[str]) -> Any:
    kind = option.kind
    if isinstance(kind, Flag):
        return kind.meaning
    if not option.multiple:
        return kind.plain(texts[-1])
    values = tuple(kind.plain(text) for text in texts)
    return tuple(dict.fromkeys(values)) if isinstance(kind, Granted) else values
