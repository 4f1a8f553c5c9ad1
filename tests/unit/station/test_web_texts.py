"""Every text of the page stands in a catalogue, and every one that is asked for is there."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

pytest.importorskip("litestar", reason="the extra station serves the page")

import procvision_station.web
from procvision_station.web.pages import page_texts, static_files
from procvision_station.web.texts import chosen, languages, texts_of

HOME = Path(procvision_station.web.__file__).parent
ENGLISH = texts_of("en")
TEMPLATES = sorted((HOME / "templates").glob("*.jinja"))
SCRIPTS = sorted(path for path in (HOME / "static").glob("*.js"))
SOURCES = sorted(HOME.rglob("*.py"))
PLAIN = {"CSV", "JSON", "COCO", "OK", "NG", "ERROR"}
"""Words that are the same in every language."""


def asked_for(text: str) -> set[str]:
    """The texts that a template or a script names."""
    return set(re.findall(r"""\bt\(\s*["']([a-z_]+(?:\.[a-z_0-9]+)+)["']""", text))


@pytest.mark.parametrize("path", [*TEMPLATES, *SCRIPTS], ids=lambda path: path.name)
def test_every_text_that_is_asked_for_is_there(path: Path) -> None:
    missing = asked_for(path.read_text("utf-8")) - ENGLISH.entries.keys()
    assert not missing


def test_a_page_is_given_every_text_that_its_scripts_ask_for() -> None:
    """A text that stands in the catalogue, and not in the page's frame, would be shown by its name."""
    for script in SCRIPTS:
        given = page_texts(ENGLISH, {"parameters": "recipes"}.get(script.stem, script.stem))
        assert asked_for(script.read_text("utf-8")) <= given.keys(), script.name
        by_fact = set(re.findall(r"t\(`([a-z]+)\.\$", script.read_text("utf-8")))
        assert by_fact <= {name.partition(".")[0] for name in given}, script.name


def test_every_error_that_is_raised_has_a_text_and_a_hint() -> None:
    source = "".join(path.read_text("utf-8") for path in SOURCES)
    raised = set(re.findall(r'RequestRefusedError\(\s*\d+(?: if [^,]*)?,\s*"([a-z_.]+)"', source))
    raised |= set(re.findall(r'(?:AccountError|SignInRefusedError)\(\s*"([a-z_.]+)"', source))
    raised |= set(re.findall(r'return "(password\.[a-z]+)"', source))
    assert len(raised) > 25
    for code in raised:
        assert f"error.{code}.what" in ENGLISH.entries, code
        assert f"error.{code}.hint" in ENGLISH.entries, code


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_text_stands_in_a_template(path: Path) -> None:
    text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", " ", path.read_text("utf-8"), flags=re.DOTALL)
    attributes = re.findall(r'(?:aria-label|title|placeholder|alt)="([^"]*)"', text)
    words = set(re.sub(r"<[^>]*>", " ", text).split()) | {word for each in attributes for word in each.split()}
    assert {word for word in words if any(letter in string.ascii_letters for letter in word)} <= PLAIN


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_text_stands_in_a_script(path: Path) -> None:
    """A string with two words in it, or one that begins with a capital, is a text; names of classes are not."""
    source = re.sub(r"^\s*//.*$|/\*.*?\*/", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = set()
    for one in re.findall(r'"((?:[^"\\]|\\.)*)"|`([^`]*)`', source):
        said = re.sub(r"\$\{[^}]*\}", "", one[0] or one[1])
        if re.search(r"[A-Z][a-z]+ [a-z]|[a-z]{2,}[.!?]$|^[A-Z][a-z]{2,}$", said):
            found.add(said)
    names = {"Enter", "Escape", "ArrowLeft", "ArrowRight", "DOMPoint"}
    assert found <= names


def test_a_languages_texts_have_the_same_facts() -> None:
    for language in languages():
        texts = texts_of(language)
        assert texts.entries.keys() == ENGLISH.entries.keys()
        for name, text in texts.entries.items():
            facts = set(re.findall(r"\{(\w+)\}", text))
            assert facts == set(re.findall(r"\{(\w+)\}", ENGLISH.entries[name])), (language, name)


def test_the_reader_chooses_the_language() -> None:
    assert chosen("xx, en-GB;q=0.5").language == "en"
    assert chosen("de-AT,en;q=0.5").language == "de"
    assert chosen("zh-Hans-CN").language == "zh"
    assert chosen("").language == "en"
    assert chosen(", ;;;=,").language == "en"


def test_scripts_and_styles_ask_nobody_else() -> None:
    for name, content in static_files().items():
        text = content.decode()
        links = set(re.findall(r"https?://[^\s\"')]*", text))
        assert links <= {"http://www.w3.org/2000/svg"}, name
        assert "innerHTML" not in text
        assert "eval(" not in text
        assert "@import" not in text


def test_the_colours_have_enough_contrast_in_both_schemes() -> None:
    """Texts 4.5 to 1 and what is drawn 3 to 1 (WCAG 2.1, level AA); no defect has OK's green."""
    from procvision_tools.report.palette import COLOURS, contrast

    css = (HOME / "static" / "page.css").read_text("utf-8")
    schemes = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in css.split("@media")[:2]]
    for scheme in (schemes[0], {**schemes[0], **schemes[1]}):
        for ground in ("page", "card", "well"):
            for ink in ("ink", "soft", "link"):
                assert contrast(scheme[ink], scheme[ground]) >= 4.5, (ink, ground)
        assert contrast(scheme["bad"], scheme["bad-well"]) >= 4.5
        assert contrast(scheme["ink"], scheme["note-well"]) >= 4.5
        for verdict in ("ok", "ng", "error"):
            assert contrast("#ffffff", scheme[verdict]) >= 4.5, verdict
            assert contrast(scheme[f"bar-{verdict}"], scheme["card"]) >= 2.9, verdict
        assert contrast(scheme["chart-line"], scheme["card"]) >= 3
        assert not {scheme["ok"], scheme["bar-ok"]} & set(COLOURS.values())


def test_what_a_fact_says_is_filled_in_by_nothing() -> None:
    """A vendor's text with braces stays what it is, whatever the other facts are."""
    told = ENGLISH("error.role.what", bound="{value} $& {bound}", value="X")
    assert "{value} $& {bound}" in told
    assert "X" in told
