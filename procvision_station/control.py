"""How the page, and the command line, change something: by commands to the process that runs the lines.

    answer = send(folder, Overrule(user="u-1", line="main", key="5f1c-000042", verdict="NG", why="scratch"))

A command goes over a Unix socket in the station's folder of data, whose owner alone reaches it: a line of JSON there, a
line of JSON back. It is answered when its event is on the disk, or when it can't be: then nothing was changed. Who may
send which command, the page decides: what opens the socket is the station's owner.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from procvision_sdk.errors import ProcVisionError

SOCKET = "control.sock"
MAX_COMMAND_BYTES = 1024 * 1024
"""A recipe's file has at most a quarter of it."""
ANSWER_WITHIN_S = 30.0
"""So long a command may take: a new version of an algorithm is started and tried first."""
MAX_CONNECTIONS = 16
"""Commands at a time; one more waits."""

UserId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""A pseudonym: who it is stands in the page's own file, where it can be erased."""
Text = Annotated[str, Meta(min_length=1, max_length=4000)]
Key = Annotated[str, Meta(min_length=1, max_length=128)]


class _Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command"):
    pass


class Status(_Command, frozen=True, tag="status"):
    """Ask how the lines are. It changes nothing, and is not recorded."""

    watched: bool = False
    """Whether somebody looks at the page just now: the last pictures are written for it."""


class Overrule(_Command, frozen=True, kw_only=True, tag="overrule"):
    """A person's verdict on a product, beside the algorithm's."""

    user: UserId
    line: str
    key: Key
    verdict: Literal["OK", "NG"]
    why: Annotated[str, Meta(max_length=4000)] = ""
    defects: list[dict[str, Any]] | None = None
    """Where the person sees them: rects with label, x, y, width, height and the step."""


class Note(_Command, frozen=True, kw_only=True, tag="note"):
    """A person's words on a product."""

    user: UserId
    line: str
    key: Key
    text: Text


class Pin(_Command, frozen=True, kw_only=True, tag="pin"):
    """Keep a product's pictures whatever the policy says, or no longer."""

    user: UserId
    line: str
    key: Key
    pinned: bool
    why: Annotated[str, Meta(max_length=4000)] = ""


class Action(_Command, frozen=True, kw_only=True, tag="action"):
    """What a user did that is of no line: signed in, made a user, changed a role. The station's journal has it."""

    user: UserId
    event: Annotated[str, Meta(pattern=r"^[a-z][a-z_]{0,63}$")]
    content: dict[str, Any] = {}
    """What else is to be known of it; no password, no token, no name that must be erasable."""


Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class ChangeRecipe(_Command, frozen=True, kw_only=True, tag="change_recipe"):
    """Give a recipe another text, or make one. The lines that run it take it on between two products."""

    user: UserId
    recipe: Name
    text: Annotated[str, Meta(min_length=1, max_length=256 * 1024)]
    """The file, whole. An earlier version's text takes the change back."""
    base: str | None
    """The version that the user has changed: another one since then refuses it. None makes a recipe."""
    why: Annotated[str, Meta(max_length=4000)] = ""


class ChooseRecipe(_Command, frozen=True, kw_only=True, tag="choose_recipe"):
    """Let a line inspect by another recipe from the next product on, also after a restart."""

    user: UserId
    line: str
    recipe: Name
    why: Annotated[str, Meta(max_length=4000)] = ""


class DeletePictures(_Command, frozen=True, kw_only=True, tag="delete_pictures"):
    """Delete kept pictures: first each line's ledger says so. The station's retention sends it."""

    lines: dict[str, list[Annotated[str, Meta(pattern=r"^[0-9a-f]{2}/[0-9a-f]{62}\.[a-z0-9]{1,8}$")]]]
    """The files by the lines that have them."""
    why: str
    as_of: float
    """When the journals were read to their ends, by the monotonic clock: a file that came since stays."""


Pid = Annotated[str, Meta(min_length=1, max_length=256)]


class ActivateVersion(_Command, frozen=True, kw_only=True, tag="activate_version"):
    """Let an installed version pass the gate, and give products to it. The lines go on with it between two products."""

    user: UserId
    name: Name
    version: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+!-]{0,63}$")]
    pids: Annotated[tuple[Pid, ...], Meta(min_length=1, max_length=100)] = ("*",)
    """`*` stands for all products that have none of their own."""
    grants: Annotated[list[Annotated[str, Meta(max_length=256)]], Meta(max_length=32)] = []
    why: Annotated[str, Meta(max_length=4000)] = ""


class TakeBackVersion(_Command, frozen=True, kw_only=True, tag="take_back_version"):
    """Give products the version again that was active before."""

    user: UserId
    name: Name
    pids: Annotated[tuple[Pid, ...], Meta(min_length=1, max_length=100)] = ("*",)
    allow_revoked: bool = False
    """Whether also one whose key was revoked since."""
    why: Text


BUNDLE_FILE = r"^[A-Za-z0-9][A-Za-z0-9._+!-]{0,250}\.zip$"


class InstallVersion(_Command, frozen=True, kw_only=True, tag="install_version"):
    """Install a bundle's version beside those that are there. Nothing of it runs before it is activated."""

    user: UserId
    file: Annotated[str, Meta(pattern=BUNDLE_FILE)]
    uploaded: bool = False
    """Whether it lies in the folder of uploads, in place of the one that station.toml names."""
    why: Text


Command: TypeAlias = (
    Status
    | Overrule
    | Note
    | Pin
    | Action
    | ChangeRecipe
    | ChooseRecipe
    | DeletePictures
    | ActivateVersion
    | TakeBackVersion
    | InstallVersion
)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a command came to."""

    error: str | None = None
    """Why nothing was changed; None where it was."""
    hint: str | None = None
    line: str | None = None
    """In whose journal it is recorded."""
    sequence: int | None = None
    """Of its record."""
    content: dict[str, Any] = {}
    """What was asked for."""


class ControlError(ProcVisionError):
    """A command was not carried out."""


class NotRunningError(ControlError):
    """Nobody runs the station's lines."""


def send(data_folder: Path, command: Command, timeout_s: float = ANSWER_WITHIN_S) -> Answer:
    """Send a command to the process that runs the station's lines, and return its answer.

    Raises NotRunningError, and ControlError where it was refused, or where no answer came: then it may have been
    carried out.
    """
    try:
        with _at(data_folder) as address, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            try:
                connection.connect(address)
            except OSError as error:
                raise NotRunningError("the station doesn't run\nhint: procvision station run FOLDER") from error
            connection.sendall(msgspec.json.encode(command) + b"\n")
            answer = msgspec.json.decode(_line(connection), type=Answer)
    except FileNotFoundError as error:
        raise NotRunningError("the station doesn't run\nhint: procvision station run FOLDER") from error
    except (OSError, ValueError) as error:
        raise ControlError(f"the station gave no answer: {error}\nhint: look whether it was carried out") from error
    if answer.error is not None:
        raise ControlError(answer.error + (f"\nhint: {answer.hint}" if answer.hint else ""))
    return answer


class ControlServer:
    """Takes commands, each on a thread of its own. `carry_out` may raise ProcVisionError: that is the answer then."""

    def __init__(self, data_folder: Path, carry_out: Callable[[Command], Answer]) -> None:
        self._folder, self._carry_out = data_folder, carry_out
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # The journals' locks say that no other process runs these lines: a socket that is there is a killed one's.
            (data_folder / SOCKET).unlink(missing_ok=True)
            with _at(data_folder) as address:
                self._socket.bind(address)
            (data_folder / SOCKET).chmod(0o600)
            self._socket.listen(MAX_CONNECTIONS)
        except BaseException:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._accept, name="procvision-control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more commands."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(1.0)
        self._socket.close()
        (self._folder / SOCKET).unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._room.acquire()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(ANSWER_WITHIN_S)
                connection.sendall(msgspec.json.encode(self._carried_out(connection)) + b"\n")
        finally:
            self._room.release()

    def _carried_out(self, connection: socket.socket) -> Answer:
        try:
            command = msgspec.json.decode(_line(connection), type=Command)
        except ValueError as error:  # msgspec's errors are ValueErrors
            return Answer(error=f"it is no command: {error}")
        try:
            return self._carry_out(command)
        except ProcVisionError as error:
            message, _, hint = str(error).partition("\nhint: ")
            return Answer(error=message, hint=hint or None)
        except Exception as error:  # noqa: BLE001 - the line goes on, whatever a command does
            return Answer(error=f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def _at(data_folder: Path) -> Iterator[str]:
    """Give the socket's address by its open folder: a path of a Unix socket has at most 107 bytes."""
    descriptor = os.open(data_folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def _line(connection: socket.socket) -> bytes:
    read = b""
    while not read.endswith(b"\n"):
        part = connection.recv(65536)
        if not part:
            break
        read += part
        if len(read) > MAX_COMMAND_BYTES:
            raise ValueError(f"it has more than {MAX_COMMAND_BYTES} bytes")
    return read
