"""Renders the template's files, names included, and writes them into a folder of their own."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from attrs import frozen

from procvision_sdk.jsontext import json_text
from procvision_tools.extras import need
from procvision_tools.scaffold.names import Names

Ci = Literal["github", "gitlab", "none"]
CI_CHOICES: tuple[Ci, ...] = ("github", "gitlab", "none")
SUFFIX = ".jinja"
_CI_FILES: dict[str, str] = {"github": ".github/workflows/tests.yml", "gitlab": ".gitlab-ci.yml"}


@frozen(kw_only=True)
class Project:
    """What a new project is asked for."""

    names: Names
    description: str
    author: str
    pids: tuple[str, ...]
    ci: Ci = "github"


class FolderTakenError(Exception):
    """The folder is there and not empty."""


def render(project: Project) -> dict[PurePosixPath, str]:
    """Give every file's text by its path. Raises `MissingExtraError` where jinja2 is not installed."""
    jinja2 = need("jinja2", "Jinja2", "a new project")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # what is written is no HTML: texts go through tojson
    )
    environment.filters["tojson"] = json_text  # Jinja2's own writes escapes, for HTML
    facts: dict[str, Any] = {
        "name": project.names.name,
        "package": project.names.package,
        "class_name": project.names.class_name,
        "description": project.description,
        "author": project.author,
        "pids": list(project.pids),
        "ci": project.ci,
    }
    root = resources.files("procvision_tools.scaffold") / "template"
    unwanted = {path for ci, path in _CI_FILES.items() if ci != project.ci}
    files = {}
    for template, source in _templates(root, PurePosixPath()):
        path = environment.from_string(str(template)).render(facts).removesuffix(SUFFIX)
        if path not in unwanted:
            files[PurePosixPath(path)] = environment.from_string(source.read_text(encoding="utf-8")).render(facts)
    return files


def write(project: Project, folder: Path) -> list[Path]:
    """Write the project; give its files. Raises FolderTakenError before anything is written, and OSError."""
    files = render(project)
    if folder.is_dir() and any(folder.iterdir()):
        raise FolderTakenError(str(folder))
    written = []
    for path, text in sorted(files.items()):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return written


def _templates(folder: Traversable, below: PurePosixPath) -> Iterator[tuple[PurePosixPath, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _templates(entry, below / entry.name)
        elif entry.name.endswith(SUFFIX):
            yield below / entry.name, entry
