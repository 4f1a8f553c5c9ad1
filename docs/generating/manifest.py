"""The tables of the manifest's reference, and its JSON Schema."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec.inspect as mi

from generating.markdown import Regions, glossary, table
from generating.structs import in_words
from procvision_sdk.manifest import parameters
from procvision_sdk.manifest.model import Manifest, Step, manifest_schema

MEANINGS: dict[str, str] = {
    "Manifest.name": "the algorithm's name: the entry point's, and what `--algo` takes",
    "Manifest.version": "the distribution's version",
    "Manifest.entry_point": "`module:Class`, the same as in the distribution's `procvision.algorithms`",
    "Manifest.supported_pids": 'the product ids that it inspects, `"*"` for any; another is refused (1001)',
    "Manifest.steps": "at least one, numbered from 1 without gaps",
    "Manifest.description": "one line for a person",
    "Manifest.required_assets": 'product id (or `"*"`) → files below the package; one that is missing is found '
    "before the algorithm is imported (1003)",
    "Manifest.picture_score": "the diagnostic that says how bad a picture is, the higher the worse: `execute` "
    "publishes it with every OK and NG, and `procvision evaluate` ranks by it",
    "Manifest.diagnostics": "by the name under which it is published: `description`, `unit`, and the limits `min` "
    "and `max`, which reports show beside the value; a value beyond them changes no verdict",
    "Manifest.default_config": "the vendor's own settings, any JSON; nothing of it is interpreted",
    "Manifest.pre_per_host": "`false` unless said otherwise: `true` where what `pre` leaves lies in the process, "
    "beside the session's state. A session whose host is gone is lost then, also with a store that outlives it",
    "Manifest.reads_picture": "`true` unless said otherwise: an `execute` that was handed a picture, never read it and "
    "says OK is an error (1006 `picture_not_read`). `false` for one whose verdict needs no picture",
    "Manifest.needs": "what it needs beyond its picture, each with a text that says what for; see "
    "[Needs](#needs). Under `strict` isolation it has what was granted of it",
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
    "pattern": "regular expression of RE2 for the whole text",
    "of": "the kind of its values: `int`, `float`, `bool`, `string`, `enum`",
    "min_items": "fewest values",
    "max_items": "most values",
    "choices": "the allowed texts",
}


def fields_table(cls: type[Any]) -> str:
    """What a manifest or a step holds."""
    described: Any = mi.type_info(cls)
    rows = []
    for field in described.fields:
        kind = "array of parameters" if field.name == "params" else in_words(field.type)
        words = MEANINGS[f"{cls.__name__}.{field.name}"]
        rows.append((f"`{field.name}`", kind, "yes" if field.required else "no", words))
    return table(("field", "type", "required", "meaning"), rows)


def parameter_region() -> str:
    """What every parameter holds."""
    names = ("type", *parameters.Parameter.__struct_fields__, "default")
    return glossary("field", {name: MEANINGS[f"Parameter.{name}"] for name in names})


def kinds_region() -> str:
    """What each kind of parameter holds beyond that."""
    common = {*parameters.Parameter.__struct_fields__, "default"}
    rows = []
    for cls in get_args(parameters.AnyParameter):
        own = [f"`{name}` ({KIND_FIELDS[name]})" for name in cls.__struct_fields__ if name not in common]
        rows.append((f"`{cls.__struct_config__.tag}`", (cls.__doc__ or "").strip(), ", ".join(own) or "none"))
    return table(("type", "a value is", "further fields"), rows)


def schema_text() -> str:
    """The JSON Schema of a manifest as a file."""
    return json.dumps(manifest_schema(), indent=2) + "\n"


REGIONS: Regions = {
    "manifest-fields": lambda: fields_table(Manifest),
    "step-fields": lambda: fields_table(Step),
    "parameter-fields": parameter_region,
    "parameter-kinds": kinds_region,
    "manifest-schema": lambda: f"```json\n{schema_text().rstrip()}\n```",
}
