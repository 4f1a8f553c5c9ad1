"""A requalification from the command line to its report: versions, archive, shards, engine, results."""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
import msgspec
from attrs import frozen

from procvision_sdk.installed import version_of
from procvision_sdk.jsontext import json_text
from procvision_sdk.private_files import write_private
from procvision_tools.cli.errors import CommandError, usage_error
from procvision_tools.cli.hosts import Hosting, check_name, launched, spawning
from procvision_tools.cli.output import UNWRITTEN, json_of
from procvision_tools.cli.products import params_of, pid_of, steps_of
from procvision_tools.cli.program import command_line
from procvision_tools.cli.progress import bar
from procvision_tools.cli.requalifying import Comparing
from procvision_tools.engines.protocol import Engine, Lost, open_engine
from procvision_tools.names import shown
from procvision_tools.report import requalification_text, terminal
from procvision_tools.requalification.archive import Archive, Product, check_place, open_archive, stored
from procvision_tools.requalification.report import Requalification, Version
from procvision_tools.requalification.results import Results, Row, key_of
from procvision_tools.requalification.subjects import RECORDED, Subject, SubjectError, check_same, resolve
from procvision_tools.requalification.urls import is_url
from procvision_tools.sources.picture_files import check_reference

if TYPE_CHECKING:
    from procvision_sdk.manifest.model import Manifest

REPORT_FILE, TIMES_FILE = "report.json", "times.json"


@frozen(kw_only=True)
class Wanted:
    """What the command line says."""

    new: str
    old: str
    place: str
    root: Path | None
    default_root: Path
    engine: str = "local"
    jobs: int | None = None
    out: Path | None = None
    sample: int | None = None
    layout: str | None = None
    reference: Path | None = None
    pid: str | None = None
    params: tuple[str, ...] = ()
    bits: int | None = None
    timeout_s: float | None = None
    isolation: str | None = None
    parts: tuple[str, ...] = ()
    """Of which bounds are stated."""


def requalified(wanted: Wanted) -> Requalification:
    """Make the results that are missing, and put all together. Raises ProcVisionError and CommandError."""
    check_place(wanted.place)
    _check_apart(wanted)
    check_reference(wanted.reference)
    engine = open_engine(wanted.engine, wanted.jobs)
    new, old = (resolve(text, wanted.root, wanted.default_root, wanted.isolation) for text in (wanted.new, wanted.old))
    if new.kind == RECORDED:
        raise SubjectError("the new version can't be what is recorded\nhint: requalify NEW ARCHIVE --against recorded")
    for subject in (new, old):
        if subject.kind == "algorithm":
            check_name(subject.algorithm)
    versions = _versions([subject for subject in (new, old) if subject.kind != RECORDED], wanted)
    archive = open_archive(wanted.place, versions[new.text].name, wanted.layout)
    if old.kind == RECORDED:
        if not archive.recorded:
            raise SubjectError(f"{archive.place} has recorded no verdicts\nhint: --against a version")
        versions[old.text] = Version(RECORDED, RECORDED, archive.recorded, "", "")
    if wanted.sample is not None:
        archive = archive.sampled(wanted.sample)
    _check_parts(wanted, archive)
    work = Comparing(
        new=new,
        old=None if old.kind == RECORDED else old,
        params=wanted.params,
        pid=wanted.pid,
        reference=None if wanted.reference is None else stored(wanted.reference),
        bits=wanted.bits,
        timeout_s=wanted.timeout_s,
    )
    settings: dict[str, Any] = {
        "user_params": list(work.params), "pid": work.pid, "bits": work.bits, "timeout_s": work.timeout_s,
        "isolation": wanted.isolation,
        "reference": None if work.reference is None else msgspec.to_builtins(work.reference),
    }  # fmt: skip
    keyed = settings | {"new": attrs.asdict(versions[new.text]), "old": attrs.asdict(versions[old.text])}
    place = wanted.place if is_url(wanted.place) else shown(Path(wanted.place).absolute())
    compared = {"ProcVision": version_of("procvision"), "archive": {"place": place, "kind": archive.kind}, **keyed}
    with _folder(wanted.out) as folder, contextlib.closing(Results(folder)) as results:
        results.claim(compared)
        shards = {key_of(products, keyed): products for products in archive.shards()}
        began, started = time.perf_counter(), datetime.datetime.now(datetime.UTC)
        missing = {key: products for key, products in shards.items() if key not in results}
        _make(engine, work, missing, results, len(archive.products))
        run = {"started": started.isoformat(timespec="seconds"), "took_s": round(time.perf_counter() - began, 3),
               "command": command_line(), "engine": wanted.engine, "jobs": wanted.jobs,
               "shards": len(shards), "shards_found": len(shards) - len(missing)}  # fmt: skip
        rows = {row.name: row for key in shards for row in results.read(key)}
    return Requalification(
        old=versions[old.text], new=versions[new.text], archive=archive, rows=rows, settings=settings, runs=(run,)
    )


def _check_apart(wanted: Wanted) -> None:
    """Refuse results within the archive: the next command would tell of files there that are no picture."""
    if wanted.out is None or is_url(wanted.place):
        return
    out, archive = (Path(os.path.realpath(path)) for path in (wanted.out, wanted.place))
    if out.is_relative_to(archive):
        raise usage_error(f"--out {shown(wanted.out)} lies within the archive {shown(wanted.place)}",
                          "a folder beside it: what an archive holds is part of the report")  # fmt: skip


def _check_parts(wanted: Wanted, archive: Archive) -> None:
    """Refuse a bound on a part that no product is of: it would be missed after all of them."""
    known = {f"{kind}={name}" for product in archive.products for kind, name in product.parts.items()}
    for part in wanted.parts:
        if part not in known:
            there = f"it has {', '.join(sorted(known)[:5])}" if known else "it has none: leave out [...]"
            raise usage_error(f"--require: the archive has no part {part}", there)


def _make(
    engine: Engine, work: Comparing, missing: dict[str, tuple[Product, ...]], results: Results, products: int
) -> None:
    """Map the missing shards, and write each result as it comes."""
    keys, shards = list(missing), list(missing.values())
    there = products - sum(map(len, shards))
    if not shards:
        return
    if there:
        click.secho(f"{there} of {products} products are there already", err=True, dim=True)
    cancelled = threading.Event()
    with engine, bar(sum(map(len, shards)), "requalifying") as seen:
        outcomes = engine.map(work, shards, cancelled)
        try:
            for outcome in outcomes:
                if isinstance(outcome, Lost):
                    names = f"{shards[outcome.number][0].name} to {shards[outcome.number][-1].name}"
                    hint = "the worker itself ended, not its hosts: is there enough memory?"
                    raise CommandError(f"the products {names} can't be requalified: {outcome.reason}", hint)
                # What is kept is kept as said by the versions that the command began with.
                for subject in (work.new, work.old):
                    if subject is not None:
                        check_same(subject)
                _write(results, keys[outcome.number], shards[outcome.number], outcome.result)
                for _ in shards[outcome.number]:
                    seen()
        finally:
            cancelled.set()
            outcomes.close()  # type: ignore[attr-defined]


def _write(results: Results, key: str, products: Sequence[Product], rows: Sequence[Row]) -> None:
    if [row.name for row in rows] != [product.name for product in products]:
        raise CommandError(f"a worker gave results of {len(rows)} products for {len(products)}",
                           "is the engine's plugin whole? procvision_tools.engines.testing checks it")  # fmt: skip
    results.write(key, rows)


def _versions(subjects: Sequence[Subject], wanted: Wanted) -> dict[str, Version]:
    """Launch each version once, all hosts of ours at the same time, to learn what it is. Raises RunnerError."""
    found: dict[str, Version] = {}
    with ExitStack() as stack:
        launching = []
        for subject in {subject.text: subject for subject in subjects}.values():
            named = subject.algorithm or subject.text
            hosting = Hosting(algorithm=named, command=subject.command, timeout_s=wanted.timeout_s)
            spawned = None if subject.kind == "command" else stack.enter_context(spawning(hosting))
            launching.append((subject, hosting, spawned))
        for subject, hosting, spawned in launching:
            with launched(hosting, spawned) as ready:
                told = ready.manifest
                _check_options(told, wanted)
                found[subject.text] = Version(
                    subject.text, subject.kind, told.name, told.version, subject.identity, subject.distribution
                )
    return found


def _check_options(manifest: Manifest, wanted: Wanted) -> None:
    """Refuse a product id or parameter that a version doesn't take, before anything is inspected.

    Whether a rect lies in a picture, that picture tells. Raises CommandError (exit status 64).
    """
    if wanted.pid is not None:
        pid_of(manifest, wanted.pid)
    params_of(manifest, steps_of(manifest, None), wanted.params, (sys.maxsize, sys.maxsize))


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """Give the folder of results: the one that was named, or one that is gone afterwards."""
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="procvision-requalify-") as folder:
        yield Path(folder)


def show(found: Requalification, *, as_json: bool) -> None:
    """Print the report."""
    if as_json:
        click.echo(json_of(found.as_record()))
    else:
        terminal.echo(requalification_text.render(found))


def write_files(
    found: Requalification, out: Path | None, json_file: Path | None, page: Path | None, worst: int
) -> None:
    """Write what is wanted. Raises CommandError where that fails."""
    json_file = None if str(json_file) == "-" else json_file
    report = "" if out is None and json_file is None else _json(found.as_record())
    wanted = [(json_file, report)] if json_file is not None else []
    quiet = [] if out is None else [(out / REPORT_FILE, report), (out / TIMES_FILE, _json(found.times_record()))]
    path: Path | None = None
    try:
        for path, text in (*quiet, *wanted):
            write_private(path, text)
        for path, _ in wanted:
            click.echo(f"wrote {path}", err=True)
        if page is not None:
            from procvision_tools.report import requalification_html

            path = page
            requalification_html.write(page, found, worst)
            click.echo(f"wrote {page}", err=True)
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror or error}", UNWRITTEN) from error


def _json(record: Any) -> str:
    return json_text(record, indent=2) + "\n"
