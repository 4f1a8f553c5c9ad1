"""A station's folder is checked as a whole: every error with file, line, column and what to do."""

from __future__ import annotations

import math
import re
import tomllib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procvision_station.configuration.files import ConfigurationError
from procvision_station.configuration.model import LineSection, PicturesSection, RecipeStep, StationFile
from procvision_station.configuration.places import Place, places_of
from procvision_station.configuration.reading import read_station
from procvision_station.parts import SUPERVISOR_OPTIONS, supervised
from procvision_station.scaffold import FolderTakenError, make_station


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("station") / "line-3"
    list(make_station(folder))
    return folder


@pytest.fixture
def folder(made, tmp_path):
    for path in made.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(made)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return tmp_path


def problems_after(folder, old, new, name="station.toml"):
    """What is wrong after a text was replaced, and where the new text begins."""
    path = folder / name
    text = path.read_text()
    assert old in text
    changed = text.replace(old, new, 1)
    path.write_text(changed)
    at = changed.find(new)
    place = Place(changed.count("\n", 0, at) + 1, at - changed.rfind("\n", 0, at))
    with pytest.raises(ConfigurationError) as caught:
        read_station(folder)
    return caught.value.problems, place


def test_a_station_of_deployments_says_which_version_is_missing(folder):
    """Its recipes name algorithms alone, and nothing of its own environment takes a version's place."""
    section = "[deployments]\n[pictures]"
    (problem,), _ = problems_after(folder, "[pictures]", section)
    assert (problem.file, problem.place.line) == ("recipes/board.toml", 7)
    assert "steps[0].algorithm: " in problem.message
    assert "data/deployments is no folder of deployments" in problem.message
    assert problem.hint.startswith("procvision install BUNDLE --root ")
    (folder / "data" / "deployments").mkdir(parents=True)
    (problem,), _ = problems_after(folder, "[pictures]", "# nothing\n[pictures]")
    assert "no version of pcb-compare is active for product board in " in problem.message
    assert problem.hint.startswith("procvision activate NAME==VERSION --root ")
    for name in ("pcb-compare==0.1.0", "pcb-compare@procvision-pcb"):
        found, _ = problems_after(folder, 'algorithm = "pcb-compare', f'algorithm = "{name}', "recipes/board.toml")
        assert any("says which version runs, and with [deployments] what is active says so" in p.message for p in found)
        (folder / "recipes" / "board.toml").write_text(
            (folder / "recipes" / "board.toml").read_text().replace(f'"{name}', '"pcb-compare')
        )
    (problem,), place = problems_after(folder, "[deployments]", "[deployments]\nrot = 1")
    assert problem.place.line == place.line + 1
    assert "root" in problem.hint


def test_a_new_station_is_right_and_is_never_overwritten(folder):
    station = read_station(folder)
    assert list(station.lines) == ["main"]
    (step,) = station.lines["main"].recipe.steps
    assert step.parameters["min_score"] == 0.5
    assert "copper" in step.parameters
    before = (folder / "station.toml").read_bytes()
    with pytest.raises(FolderTakenError, match="nothing was changed"):
        list(make_station(folder))
    assert (folder / "station.toml").read_bytes() == before


WRONG = [
    ("deadline_ms = 2000", "deadline_ms = 0", "lines.main.deadline_ms: expected int >= 1"),
    ("deadline_ms = 2000", 'deadline_ms = "2 s"', "expected int, got str"),
    ("deadline_ms = 2000", "deadline_ms = true", "expected int, got bool"),
    ("deadline_ms = 2000", "deadline_ms = 2026-01-01", "expected int"),
    ("keep_ok = 0.05", "keep_ok = nan", "no number to count with"),
    ("keep_ok = 0.05", "keep_ok = inf", "no number to count with"),
    ("keep_ok = 0.05", "keep_ok = 1.01", "expected float <= 1"),
    ("deadline_ms = 2000", "dedline_ms = 2000", "there is no such key"),
    ("every_s = 0.5", "every_s = -1", "lines.main.trigger.every_s: expected float > 0"),
    ('kind = "interval"', 'kind = "intervall"', "there is no trigger of the kind"),
    ('kind = "json-lines"', 'kind = "jsonlines"', "there is no output of the kind"),
    ('time_zone = "UTC"', 'time_zone = "Mars/Olympus"', "no time zone"),
    ('time_zone = "UTC"', 'time_zone = "../../etc/passwd"', "no time zone"),
    ('recipe = "board"', 'recipe = "bord"', "there is no recipes/bord.toml"),
    ("seed = 7", "seed = [7]", "lines.main.cameras.top.seed: expected int, got array"),
    ("defect_every = 5", "defect_evry = 5", "lines.main.cameras.top.defect_evry: there is no such key"),
]


SHUT_IN = [
    ("pcb-compar", 'isolation = "strict"', "algorithms", "no algorithm 'pcb-compar' is installed"),
    ("pcb-compare", 'isolation = "tight"', "isolation", "invalid enum value"),
    ("pcb-compare", 'grants = ["network:10.0.0.5"]', '"network', "network:10.0.0.5"),
    ("pcb-compare", 'grants = ["read:/srv/models"]', '"read:', "pcb-compare doesn't ask for read:/srv/models"),
    ("pcb-compare", 'readable = ["station.toml", "no.onnx"]', '"no.onnx', "there is no no.onnx"),
    ("pcb-compare", 'readable = ["station.toml"]\nisolation = "basic"', "isolation", "count under strict alone"),
    ("pcb-compare", 'grant = ["read:/srv/models"]', "grant", "there is no such key"),
]


@pytest.mark.parametrize(("algorithm", "keys", "at", "said"), SHUT_IN)
def test_what_is_wrong_in_an_algorithms_table_is_told_with_its_place(folder, algorithm, keys, at, said):
    path = folder / "station.toml"
    text = f"{path.read_text()}\n[lines.main.algorithms.{algorithm}]\n"
    path.write_text(text + keys)
    with pytest.raises(ConfigurationError) as caught:
        read_station(folder)
    (problem,) = caught.value.problems
    assert said in problem.message
    assert problem.hint
    if at == "algorithms":
        assert problem.place.line == text.count("\n")
    else:
        before = (text + keys)[: (text + keys).rindex(at)]
        assert problem.place == Place(before.count("\n") + 1, len(before) - before.rindex("\n"))


def test_what_an_algorithm_gets_is_how_its_host_is_launched(folder):
    """Where something is granted or readable, it is shut in; nothing is said of others."""
    path = folder / "station.toml"
    path.write_text(path.read_text() + '\n[lines.main.algorithms.pcb-compare]\nreadable = ["station.toml"]\n')
    line = read_station(folder).lines["main"]
    options = line.shut_in["pcb-compare"]
    assert (options.isolation, options.readable) == ("strict", (folder / "station.toml",))
    assert supervised("pcb-compare==0.1.0", line).runner == options
    assert supervised("code-reader", line) is SUPERVISOR_OPTIONS


@pytest.mark.parametrize(("old", "new", "said"), WRONG)
def test_what_is_wrong_in_station_toml_is_told_with_its_place(folder, old, new, said):
    problems, place = problems_after(folder, old, new)
    (problem,) = [each for each in problems if said in each.message]
    assert (problem.file, problem.place) == ("station.toml", place)
    assert re.match(rf"station\.toml:{place.line}:{place.column}: ", str(problem))


WRONG_RECIPE = [
    ('camera = "top"', 'camera = "side"', "the line main has no camera side"),
    ('algorithm = "pcb-compare"', 'algorithm = "pcb-compere"', "no algorithm 'pcb-compere' is installed"),
    ('algorithm = "pcb-compare"', 'algorithm = "pcb-compare==9.9"', "asked for is 9.9"),
    ('reference = "golden/board.png"', 'reference = "golden/gone.png"', "can't be read"),
    ('reference = "golden/board.png"', 'reference = "station.toml"', "is no picture"),
    ('reference = "golden/board.png"', 'reference = "../../../etc/passwd"', "outside of the station's folder"),
    ("min_score = 0.5", "min_score = 7.5", "min_score"),
    ("min_score = 0.5", "min_scor = 0.5", "is not a parameter of this step"),
    ('product = "board"', 'product = ""', "product: expected str of length >= 1"),
]


@pytest.mark.parametrize(("old", "new", "said"), WRONG_RECIPE)
def test_what_is_wrong_in_a_recipe_is_told_with_its_place(folder, old, new, said):
    problems, place = problems_after(folder, old, new, "recipes/board.toml")
    assert [(each.file, each.place) for each in problems] == [("recipes/board.toml", place)]
    assert said in problems[0].message


def test_a_step_of_the_manifest_that_is_not_there_is_told(folder):
    problems, _ = problems_after(folder, "reference =", "step = 9\nreference =", "recipes/board.toml")
    assert "has no step 9" in problems[0].message
    assert problems[0].hint == "it has 1"


def test_a_mistyped_name_is_answered_with_the_one_that_was_meant(folder):
    problems, _ = problems_after(folder, "deadline_ms = 2000", "dedline_ms = 2000")
    hints = {problem.message.partition(":")[0]: problem.hint for problem in problems}
    assert hints["lines.main.dedline_ms"] == "did you mean deadline_ms?"
    assert "lines.main.deadline_ms is missing" in {problem.message for problem in problems}


def test_all_that_is_wrong_is_told_at_once_in_the_order_of_the_lines(folder):
    path = folder / "station.toml"
    path.write_text(path.read_text().replace("keep_ok = 0.05", "keep_ok = 5").replace("seed = 7", "seed = -7"))
    recipe = folder / "recipes" / "board.toml"
    recipe.write_text(recipe.read_text().replace("min_score = 0.5", "min_score = 5"))
    with pytest.raises(ConfigurationError) as caught:
        read_station(folder)
    assert [each.file for each in caught.value.problems] == ["station.toml", "station.toml", "recipes/board.toml"]
    lines = [each.place.line for each in caught.value.problems[:2]]
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = [1, 2\nb = 3\n", "no TOML"),
        (b'[station]\nname = "x', "no TOML"),
        (b"[station]\nname = \xff\n", "no UTF-8"),
        (b"", "station is missing"),
        (b"x" * 300_000, "more than"),
        (b"a = " + b"[" * 5000, "read"),
    ],
)
def test_a_file_that_is_no_toml_is_an_error_and_no_crash(folder, content, said):
    (folder / "station.toml").write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_station(folder)
    assert said in str(caught.value)


def test_a_folder_without_a_station_says_how_one_is_made(tmp_path):
    with pytest.raises(ConfigurationError, match="procvision station new"):
        read_station(tmp_path)


VALUES = st.one_of(
    st.integers(-5, 10**12),
    st.floats(),
    st.booleans(),
    st.text(max_size=5),
    st.just([]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text("ab", min_size=1, max_size=2), st.integers(), max_size=2),
)
KEYS = [
    *(("station", name) for name in ("name", "time_zone")),
    *(("pictures", field.name) for field in msgspec.structs.fields(PicturesSection)),
    *(("lines", "main", field.name) for field in msgspec.structs.fields(LineSection)),
    *((field.name,) for field in msgspec.structs.fields(StationFile)),
    *(("recipe", "steps", 0, field.name) for field in msgspec.structs.fields(RecipeStep)),
    ("recipe", "product"),
    ("recipe", "steps"),
]


def quoted(text):
    """A basic string with everything odd escaped."""
    escaped = (
        char if char.isascii() and char.isprintable() and char not in '"\\' else f"\\U{ord(char):08X}" for char in text
    )
    return f'"{"".join(escaped)}"'


def inline(value):
    """A value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {inline(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[ # a remark ]\n" + ", ".join(map(inline, value)) + "]"
    return quoted(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)


def as_toml(tree):
    """A file with tables, arrays of tables and inline ones."""
    plain, tables = "# a remark = [\n", ""
    for key, value in tree.items():
        name = key if key.isascii() and key.isalpha() else quoted(key)
        if isinstance(value, dict):
            tables += f"[ {name} ]\n" + "".join(f"  {quoted(each)} = {inline(of)}\n" for each, of in value.items())
        elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            for item in value:
                tables += f"[[{name}]] # ]]\n" + "".join(f"{quoted(each)}={inline(of)}\n" for each, of in item.items())
        else:
            plain += f"{name} = {inline(value)}\n"
    return plain + tables


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KEYS), VALUES)
def test_each_key_with_any_value_is_taken_or_told_and_never_a_crash(made, tmp_path_factory, key, value):
    folder = tmp_path_factory.mktemp("any")
    for path in made.rglob("*"):
        if path.is_file():
            (folder / path.relative_to(made)).parent.mkdir(exist_ok=True)
            (folder / path.relative_to(made)).write_bytes(path.read_bytes())
    name = "recipes/board.toml" if key[0] == "recipe" else "station.toml"
    data = tomllib.loads((folder / name).read_text())
    held = data
    key = key[1:] if key[0] == "recipe" else key
    for part in key[:-1]:
        held = held[part]
    held[key[-1]] = value
    (folder / name).write_text(as_toml(data))
    try:
        read_station(folder)
    except ConfigurationError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.file in ("station.toml", "recipes/board.toml")
            assert problem.place is not None


PARTS = st.one_of(st.from_regex(r"[a-c]{1,2}", fullmatch=True), st.sampled_from(["a.b", "ä", 'q"', "[x]", "#"]))
TREES = st.recursive(
    st.one_of(st.integers(0, 9), st.booleans(), st.sampled_from(["", "]", "}", "# x", 'a"b', "'", "\n=", "x,y", "\\"])),
    lambda of: st.one_of(st.lists(of, max_size=3), st.dictionaries(PARTS, of, max_size=3)),
    max_leaves=12,
)


def paths_of(value, path=()):
    """Every key and every item."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, below in items:
        yield (*path, part)
        yield from paths_of(below, (*path, part))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(PARTS, TREES, max_size=4))
def test_every_key_of_any_toml_has_a_place_where_it_stands(tree):
    text = as_toml(tree)
    assert tomllib.loads(text) == tree
    places = places_of(text)
    lines = text.split("\n")
    for path in paths_of(tomllib.loads(text)):
        place = places[path]
        rest = lines[place.line - 1][place.column - 1 :]
        if isinstance(path[-1], str):
            assert rest.lstrip("[ ").startswith((path[-1], quoted(path[-1])))
        else:
            assert rest


def test_no_number_is_nan_in_a_checked_file(folder):
    station = read_station(folder)
    assert all(math.isfinite(getattr(station.file.pictures, name)) for name in ("keep_ok", "keep_ng", "keep_error"))
