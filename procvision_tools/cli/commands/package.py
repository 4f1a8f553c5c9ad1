"""`procvision package`: an algorithm and everything it needs, in one file that installs without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from procvision_tools.argument_types import FiniteRange
from procvision_tools.cli import exits

if TYPE_CHECKING:
    from collections.abc import Callable

    from procvision_tools.bundling.bundle import Index
    from procvision_tools.bundling.gathering import Sources
    from procvision_tools.bundling.target import Target

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
DEFAULT_MAX_FILE_MB = 100.0
WHEELS_HINT = (
    "what no index has is taken from a folder: pip wheel --no-deps -w wheels PROJECT, then --find-links wheels"
)
"""Those who work from a clone of ProcVision need it for that."""


@click.command(epilog=exits.EPILOG, short_help="Make one file that installs an algorithm without a network.")
@click.argument("project", type=click.Path(exists=True, path_type=Path), default=".", metavar="[PATH]")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.zip",
              help="Where to; by default dist/NAME-VERSION-PYTHON-PLATFORM.zip.")  # fmt: skip
@click.option("--platform", metavar="TAG", help="The target's platform, such as manylinux_2_28_x86_64.  "
              "[default: this machine's]")  # fmt: skip
@click.option("--python", metavar="VERSION", help="The target's Python, such as 3.11.  [default: this one's]")
@click.option("--abi", metavar="TAG", help="The target's ABI.  [default: CPython's of that version]")
@click.option("--find-links", "links", type=_FOLDER, multiple=True, help="A folder of wheels to take from; repeatable.")
@click.option("--no-index", is_flag=True, help="Take wheels from --find-links alone.")
@click.option("--no-build-isolation", is_flag=True, help="Build with the tools that are installed here.")
@click.option("--allow", "allowed", multiple=True, metavar="PATH",
              help="A file of the wheel that would be refused, and is meant; repeatable.")  # fmt: skip
@click.option("--max-file-mb", type=FiniteRange(min=0, min_open=True), default=DEFAULT_MAX_FILE_MB,
              show_default=True, help="A larger file must be named by --allow.")  # fmt: skip
@click.option("--with", "also", multiple=True, metavar="REQUIREMENT | PATH",
              help="Take this along, too, such as a hook plugin; repeatable.")  # fmt: skip
@click.option("--sign", "key", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="KEY",
              help="The .key file of `procvision keys new` to sign it with.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def package(
    project: Path,
    out: Path | None,
    platform: str | None,
    python: str | None,
    abi: str | None,
    links: tuple[Path, ...],
    no_index: bool,
    no_build_isolation: bool,
    allowed: tuple[str, ...],
    max_file_mb: float,
    also: tuple[str, ...],
    key: Path | None,
    as_json: bool,
) -> int:
    """Make an offline bundle of the project, or the wheel, of an algorithm or a hook plugin.

    It holds the wheel, the wheels of everything that it needs on the target, the manifest, and the SHA-256 of every
    file. ProcVision's own wheel stays behind: a station supplies it. The same wheels give the same bytes. Secrets,
    caches and large files are refused unless they are named.

    \b
    Examples:
      procvision package
      procvision package --platform manylinux_2_28_x86_64 --python 3.12 --sign acme.key
      procvision package dist/weld_check-0.1.0-py3-none-any.whl --no-index --find-links wheels
    """
    from procvision_sdk.errors import ErrorCode
    from procvision_tools.bundling.errors import BundleError
    from procvision_tools.bundling.gathering import Sources
    from procvision_tools.bundling.signing import signer
    from procvision_tools.bundling.target import NoTargetError, Target
    from procvision_tools.cli.errors import CommandError, usage_error
    from procvision_tools.extras import need
    from procvision_tools.hints import split_hint

    need("packaging.tags", "packaging", "a bundle")
    try:
        target = Target.of(platform, python, abi)
    except NoTargetError as error:
        raise usage_error(*split_hint(str(error))) from error
    sign = None if key is None else signer(key)
    sources = Sources(links, no_index, not no_build_isolation)
    try:
        path, index = _make(project, out, target, sources, allowed, max_file_mb, also, sign)
    except BundleError as error:
        message, hint = split_hint(str(error))
        if not hint and error.error_code == ErrorCode.WHEELS_MISSING:
            hint = WHEELS_HINT
        raise CommandError(f"[{error.error_code}] {message}", hint) from error
    except OSError as error:
        raise CommandError(f"{error.filename or out or 'dist'} can't be written: {error.strerror or error}") from error
    _tell(path, index, as_json, signed=sign is not None)
    return exits.OK


def _make(
    project: Path,
    out: Path | None,
    target: Target,
    sources: Sources,
    allowed: tuple[str, ...],
    max_file_mb: float,
    also: tuple[str, ...],
    sign: Callable[[bytes], bytes] | None,
) -> tuple[Path, Index]:
    from procvision_sdk.errors import ErrorCode
    from procvision_tools.bundling.bundle import manifests_in, write
    from procvision_tools.bundling.errors import BundleError
    from procvision_tools.bundling.excluded_files import refusals
    from procvision_tools.bundling.gathering import build, gather
    from procvision_tools.scratch import scratch_folder

    with scratch_folder() as folder:
        wheel = build(project, folder, sources)
        manifests_in(wheel)
        refused = list(refusals(wheel.path, max_file_mb, allowed))
        if refused:
            flags = " ".join(f"--allow {line.partition(': ')[0]}" for line in refused[:3])
            raise BundleError(
                ErrorCode.INVALID_PACKAGE,
                "\n".join([f"{wheel.path.name} has files that don't belong into it", *refused])
                + f"\nhint: leave them out of the wheel, or {flags}",
            )
        wheels, names = gather(wheel, folder, target, sources, also)
        name = f"{wheel.name}-{wheel.version}-{target.abi}-{target.platform}.zip"
        path = out if out is not None else Path("dist") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path, write(path, wheel, wheels, target, names, sign)


def _tell(path: Path, index: Index, as_json: bool, *, signed: bool) -> None:
    from procvision_tools.bundling.wheels import sha256

    size, digest = path.stat().st_size, sha256(path)
    if as_json:
        told: dict[str, Any] = {"path": str(path), "bytes": size, "sha256": digest, "signed": signed}
        from procvision_tools.cli.output import json_of

        click.echo(json_of(told | msgspec.to_builtins(index)))
        return
    click.secho(str(path), bold=True)
    for file in index.files:
        click.echo(f"  {file.bytes / 1e6:>8.2f} MB  {file.path}")
    names = index.target
    click.echo(f"  {size / 1e6:>8.2f} MB  in all, for {names.platform}, Python {names.python}, ABI {names.abi}")
    click.echo(f"  sha256 {digest}")
    click.echo(f"\nTo look at it:     procvision validate {path}{'' if signed else ' --allow-unsigned'}")
    click.echo(f"To check it alone: procvision verify {path}")
