"""Where installed packages are found by a process that Python was told to leave them out of (-I, -S).

The folders alone come first: lines of `.pth` files that are code aren't run. The host half gets no more. The cell gets
what an interpreter has as a rule, by Python's own `site`, once it is shut in: then `.pth` files and
`sitecustomize` run.

Where the algorithm has an environment of its own, this process was started by its interpreter, from the platform's
program, and `--platform-python` names the platform's: the host half has the packages of that one alone, and the cell
those of its own; of the platform's it keeps what is our host.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

OWN_FOLDER = __file__.rpartition("/process/")[0].rpartition("/")[0]
"""Where `procvision_host` lies: on the path since the program's first lines."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Which some editors begin a file with."""


def leave_platform() -> None:
    """Take the platform's own packages off the path, in a cell that has an environment of its own.

    What has begun to be imported of them, our host and the contract, stays: their modules are found by their packages.
    """
    import procvision_host
    import procvision_sdk

    assert procvision_host.__path__
    assert procvision_sdk.__path__
    sys.path[:] = [entry for entry in sys.path if entry != OWN_FOLDER]


def become_whole(added: Collection[str] = ()) -> None:
    """Take what the interpreter left out at its start; `added` is what `add_folders` did of it.

    Does nothing where it left nothing out.
    """
    if not sys.flags.no_site:
        return
    import site

    with_own = OWN_FOLDER in sys.path
    sys.path[:] = [entry for entry in sys.path if entry not in added and entry != OWN_FOLDER]
    sys.path[:0] = _named_folders()
    _take_variables()
    site.ENABLE_USER_SITE = _user_site_counts()
    site.main()
    if with_own and OWN_FOLDER not in sys.path:
        sys.path.append(OWN_FOLDER)


def add_folders(python: str = sys.executable) -> list[str]:
    """Put the folders of installed packages behind Python's own and ours. Return them. No code of theirs runs.

    `python` is the interpreter of the environment whose packages they are.
    """
    if not sys.flags.no_site:
        return []
    import site

    _take_variables()

    prefix = _two_above(os.path.abspath(python))
    try:
        with open(f"{prefix}/pyvenv.cfg", encoding="utf-8") as file:
            settings = dict(line.replace(" ", "").partition("=")[::2] for line in file.read().splitlines())
        with_system = settings.get("include-system-site-packages", "").lower() == "true"
        folders = _folders_of_environment(prefix)
    except OSError:
        folders, with_system = [], True
    if with_system:
        other = python != sys.executable
        prefixes = [_two_above(os.path.realpath(python))] if other else [sys.prefix, sys.exec_prefix]
        folders += site.getsitepackages(list(dict.fromkeys(prefixes)))
    if with_system and _user_site_counts():
        folders.insert(0, site.getusersitepackages())
    added: list[str] = []
    for folder in (*_named_folders(), *folders):
        for found in (folder, *_named_by_pth(folder)):
            if found not in sys.path and os.path.isdir(found):
                sys.path.append(found)
                added.append(found)
    return added


def _two_above(path: str) -> str:
    return os.path.dirname(os.path.dirname(path))


def _folders_of_environment(prefix: str) -> list[str]:
    """Return where a virtual environment has its packages (docs.python.org, `sysconfig`, the scheme `venv`).

    Before `site.main`, `site.getsitepackages` takes it for the system: some distributions have other folders there.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return [f"{prefix}/{lib}/{version}/site-packages" for lib in dict.fromkeys(("lib", sys.platlibdir))]


def _take_variables() -> None:
    sys.pycache_prefix = os.environ.get("PYTHONPYCACHEPREFIX") or sys.pycache_prefix
    sys.dont_write_bytecode = sys.dont_write_bytecode or bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))


def _named_folders() -> list[str]:
    return [os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]


def _user_site_counts() -> bool:
    same = os.getuid() == os.geteuid() and os.getgid() == os.getegid()
    return same and not os.environ.get("PYTHONNOUSERSITE")


def _named_by_pth(folder: str) -> list[str]:
    """Return the folders that `.pth` files name: those of packages that are installed to be edited."""
    texts: list[str] = []
    try:
        for name in sorted(os.listdir(folder)):
            if name.endswith(".pth") and not name.startswith("."):
                with open(f"{folder}/{name}", "rb") as file:
                    texts.append(file.read().removeprefix(_BYTE_ORDER_MARK).decode("utf-8", "replace"))
    except OSError:
        return []
    lines = [line.strip() for text in texts for line in text.splitlines()]
    code = ("#", "import ", "import\t")
    return [os.path.join(folder, line) for line in lines if line and not line.startswith(code) and "\0" not in line]
