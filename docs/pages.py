"""Writes what comes from the code into the pages of the tutorial, the manifest, the host and the evaluation.

`python docs/pages.py`; with `--check` it only compares. A region stands between `<!-- begin generated: NAME -->` and
`<!-- end generated -->`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import click
import msgspec.inspect as mi

from procvision_host import exits
from procvision_host.cli import cli
from procvision_runner.evaluation.figures import MEANINGS as FIGURES
from procvision_sdk.manifest import parameters
from procvision_sdk.manifest.model import Manifest, Step, manifest_schema

DOCS = Path(__file__).parent
PROJECT = DOCS / "tutorial" / "hole-count"
SCHEMA = DOCS / "reference" / "manifest.schema.json"
REGION = re.compile(r"(<!-- begin generated: (?P<name>[\w.-]+) -->\n)(?P<body>.*?)(<!-- end generated -->)", re.DOTALL)

MEANINGS: dict[str, str] = {
    "Manifest.name": "the algorithm's name: the entry point's, and what `--algo` takes",
    "Manifest.version": "the distribution's version",
    "Manifest.entry_point": "`module:Class`, the same as in the distribution's `procvision.algorithms`",
    "Manifest.supported_pids": 'the product ids that it inspects, `"*"` for any; another is refused (1001)',
    "Manifest.steps": "at least one, numbered from 1 without gaps",
    "Manifest.description": "one line for a person",
    "Manifest.required_assets": 'product id (or `"*"`) → files below the package; one that is missing is found '
    "before the algorithm is imported (1003)",
    "Manifest.default_config": "the vendor's own settings, any JSON; nothing of it is interpreted",
    "Step.index": "what calls name as `step_index`",
    "Step.name": "for a person",
    "Step.description": "for a person",
    "Step.params": "the parameters that an operator may set, see below",
    "Parameter.type": "the kind, see below",
    "Parameter.key": "the name in `user_params`",
    "Parameter.description": "what an operator reads",
    "Parameter.required": "every call must give it, unless there is a default",
    "Parameter.default": "what the algorithm gets where a call gives nothing; without it the key is absent",
}
KIND_FIELDS: dict[str, str] = {
    "min": "lowest allowed value",
    "max": "highest allowed value",
    "unit": "shown beside the value",
    "min_length": "fewest characters",
    "max_length": "most characters",
    "pattern": "regular expression for the whole text",
    "choices": "the allowed texts",
}
LOG_FIELDS: dict[str, str] = {
    "timestamp_ms": "Unix milliseconds",
    "level": "`debug`, `info`, `warning`, `error`, `critical`",
    "message": "text, cut at 8192 characters; an exception's traceback stands in it",
    "logger": "who says it: the vendor's logger, `procvision.host`, or `procvision.guardian`",
    "algorithm": "the name that the host was started with",
    "request_id": "the call's, while one is executed",
    "step_index": "the call's",
    "session_id": "the call's session",
    "trace_id": "from the session's context, where there is one",
    "stream": "with foreign output: `stdout` or `stderr`, whatever wrote it",
    "bytes": "with foreign output: how much there was; the first 4096 are shown",
}


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _type(kind: Any) -> str:
    simple = {mi.StrType: "string", mi.IntType: "integer", mi.FloatType: "number", mi.BoolType: "boolean"}
    if type(kind) in simple:
        return simple[type(kind)]
    if isinstance(kind, mi.Metadata):
        return _type(kind.type)
    if isinstance(kind, mi.ListType):
        inner = kind.item_type
        return "array of parameters" if isinstance(inner, mi.UnionType) else f"array of {_type(inner)}"
    if isinstance(kind, mi.StructType):
        return f"`{kind.cls.__name__}`"
    if isinstance(kind, mi.UnionType):
        return " or ".join(_type(part) for part in kind.types if not isinstance(part, mi.NoneType))
    return "object"


def _fields(cls: type[Any]) -> str:
    described: Any = mi.type_info(cls)
    return _table(
        ("field", "type", "required", "meaning"),
        (
            (
                f"`{field.name}`",
                _type(field.type),
                "yes" if field.required else "no",
                MEANINGS[f"{cls.__name__}.{field.name}"],
            )
            for field in described.fields
        ),
    )


def _parameter() -> str:
    names = ("type", *parameters.Parameter.__struct_fields__, "default")
    return _table(("field", "meaning"), ((f"`{name}`", MEANINGS[f"Parameter.{name}"]) for name in names))


def _kinds() -> str:
    common = {*parameters.Parameter.__struct_fields__, "default"}
    rows = []
    for cls in get_args(parameters.AnyParameter):
        own = [f"`{name}` ({KIND_FIELDS[name]})" for name in cls.__struct_fields__ if name not in common]
        rows.append((f"`{cls.__struct_config__.tag}`", (cls.__doc__ or "").strip(), ", ".join(own) or "none"))
    return _table(("type", "a value is", "further fields"), rows)


def _options(command: click.Command) -> str:
    rows = []
    with click.Context(command, info_name="procvision-host") as context:
        for parameter in command.params:
            shown = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
            if shown is not None and parameter.name != "version":
                rows.append((f"`{shown[0]}`", re.sub(r"\s+", " ", shown[1])))
    return _table(("option", "meaning"), rows)


def _commands() -> str:
    parts = []
    for name, command in sorted(cli.commands.items()):
        with click.Context(command, info_name=f"procvision-host {name}") as context:
            usage = " ".join(command.collect_usage_pieces(context))
            parts.append(
                (f"`procvision-host {name} {usage}`", (command.help or "").split("\n\n")[0].replace("\n", " "))
            )
    return _table(("command", "what it does"), parts)


def _file(name: str, language: str) -> Callable[[], str]:
    return lambda: f'```{language} title="{name}"\n{(PROJECT / name).read_text("utf-8").rstrip()}\n```'


REGIONS: dict[str, Callable[[], str]] = {
    "pyproject.toml": _file("pyproject.toml", "toml"),
    "manifest.json": _file("hole_count/manifest.json", "json"),
    "algorithm.py": _file("hole_count/algorithm.py", "python"),
    "plates.py": _file("plates.py", "python"),
    "test_hole_count.py": _file("test_hole_count.py", "python"),
    "manifest-fields": lambda: _fields(Manifest),
    "step-fields": lambda: _fields(Step),
    "parameter-fields": _parameter,
    "parameter-kinds": _kinds,
    "manifest-schema": lambda: f"```json\n{schema_text().rstrip()}\n```",
    "host-options": lambda: _options(cli),
    "host-commands": _commands,
    "host-exits": lambda: _table(("status", "meaning"), ((str(k), v) for k, v in exits.MEANINGS.items())),
    "log-fields": lambda: _table(("field", "meaning"), ((f"`{k}`", v) for k, v in LOG_FIELDS.items())),
    "figures": lambda: _table(("figure", "meaning"), ((f"`{k}`", v) for k, v in FIGURES.items())),
}
PAGES = tuple(
    DOCS / name
    for name in (
        "tutorial/first-algorithm.md",
        "reference/manifest.md",
        "reference/procvision-host.md",
        "reference/evaluation.md",
    )
)


def schema_text() -> str:
    """The JSON Schema of a manifest as a file."""
    return json.dumps(manifest_schema(), indent=2) + "\n"


def generated(page: str) -> str:
    """A page with every region written anew."""
    return REGION.sub(lambda found: f"{found[1]}{REGIONS[found['name']]()}\n{found[4]}", page)


def main() -> int:
    """Writes the pages and the schema, or with --check says whether they are up to date."""
    new = {path: generated(path.read_text("utf-8")) for path in PAGES} | {SCHEMA: schema_text()}
    if "--check" in sys.argv[1:]:
        return int(any(not path.exists() or path.read_text("utf-8") != text for path, text in new.items()))
    for path, text in new.items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
