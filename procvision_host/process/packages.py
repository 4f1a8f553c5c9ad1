"""Where installed packages are found by a process that Python was told to leave them out of (-I, -S).

The cell gets what an interpreter has as a rule, by Python's own `site`: `.pth` files and `sitecustomize` run there. The
host half only gets the folders: lines of `.pth` files that are code are never run in it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def become_whole() -> None:
    """In the cell: what the interpreter left out at its start. Does nothing where it left nothing out."""
    if not sys.flags.no_site:
        return
    import site

    root = sys.path.pop()
    sys.path[:0] = _named_folders()
    sys.pycache_prefix = os.environ.get("PYTHONPYCACHEPREFIX") or sys.pycache_prefix
    sys.dont_write_bytecode = sys.dont_write_bytecode or bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    site.ENABLE_USER_SITE = _user_site_counts()
    site.main()
    if root not in sys.path:
        sys.path.append(root)


def add_folders() -> None:
    """In the host half: the folders of installed packages, behind Python's own and ours. No code of theirs runs."""
    if not sys.flags.no_site:
        return
    import site

    prefix = Path(sys.executable).absolute().parent.parent
    try:
        lines = (prefix / "pyvenv.cfg").read_text("utf-8").splitlines()
        settings = dict(line.replace(" ", "").partition("=")[::2] for line in lines)
        prefixes = [str(prefix)]
        with_system = settings.get("include-system-site-packages", "").lower() == "true"
    except OSError:
        prefixes, with_system = [], True
    if with_system:
        prefixes += [sys.prefix, sys.exec_prefix]
    folders = site.getsitepackages(list(dict.fromkeys(prefixes)))
    if with_system and _user_site_counts():
        folders.insert(0, site.getusersitepackages())
    for folder in (*_named_folders(), *folders):
        for found in (folder, *_named_by_pth(folder)):
            if found not in sys.path and Path(found).is_dir():
                sys.path.append(found)


def _named_folders() -> list[str]:
    return [str(Path(entry).absolute()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]


def _user_site_counts() -> bool:
    same = os.getuid() == os.geteuid() and os.getgid() == os.getegid()
    return same and not os.environ.get("PYTHONNOUSERSITE")


def _named_by_pth(folder: str) -> list[str]:
    """Return the folders that `.pth` files name: those of packages that are installed to be edited."""
    try:
        files = sorted(file for file in Path(folder).glob("*.pth") if not file.name.startswith("."))
        texts = [file.read_text("utf-8-sig", errors="replace") for file in files]
    except OSError:
        return []
    lines = [line.strip() for text in texts for line in text.splitlines()]
    code = ("#", "import ", "import\t")
    return [str(Path(folder, line)) for line in lines if line and not line.startswith(code) and "\0" not in line]
