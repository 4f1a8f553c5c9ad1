"""The keys of `station.toml` and of a recipe. Their descriptions are the reference page's, and errors' hints."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from procvision_station.line.machine import DEFAULT_MAX_PRODUCTS

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MAX_DEADLINE_MS = 3_600_000
"""An hour: what takes longer is no line."""

Name = Annotated[str, Meta(pattern=_NAME)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class StationSection(_Table, frozen=True, kw_only=True):
    """`[station]`: the station as a whole."""

    name: Annotated[str, Meta(pattern=_NAME, description="The station's name: letters, digits, and . _ - between them")]
    time_zone: Annotated[
        str, Meta(description="The plant's time zone, such as Europe/Berlin; the ledger's times are UTC")
    ] = "UTC"
    shifts: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")], ...],
        Meta(min_length=1, max_length=24, description="When shifts begin, as HH:MM in the plant's time"),
    ] = ("00:00",)


class PicturesSection(_Table, frozen=True, kw_only=True):
    """`[pictures]`: which pictures are kept. Nothing is kept by default: disks fill, so it must be said."""

    keep_ok: Annotated[float, Meta(ge=0, le=1, description="Of the OK products, the share whose pictures are kept")]
    keep_ng: Annotated[float, Meta(ge=0, le=1, description="Of the NG products, the share whose pictures are kept")]
    keep_error: Annotated[float, Meta(ge=0, le=1, description="Of the ERROR products, the share that is kept")]
    ok_as: Annotated[
        Literal["png", "jpeg"], Meta(description="How pictures of OK products are kept: as they were, or as JPEG")
    ] = "png"
    ok_days: Annotated[
        Annotated[float, Meta(gt=0, le=36_500)] | None,
        Meta(description="Pictures of OK products go after so many days; left out, the disk alone decides"),
    ] = None
    ng_days: Annotated[
        Annotated[float, Meta(gt=0, le=36_500)] | None, Meta(description="The same, of NG products; not overruled ones")
    ] = None
    error_days: Annotated[
        Annotated[float, Meta(gt=0, le=36_500)] | None, Meta(description="The same, of ERROR products")
    ] = None
    free_mb: Annotated[
        int,
        Meta(
            ge=0,
            description="Megabytes that are kept free: with less, the oldest pictures go, of OK first, then ERROR, NG "
            "and overruled ones. Pinned ones stay",
        ),
    ] = 1000
    evidence: Annotated[
        Literal["behind", "first"],
        Meta(
            description="Whether pictures are written behind the line, or `first`: the verdict waits for those that "
            "are kept, and is ERROR at the deadline where they can't be written"
        ),
    ] = "behind"
    queue: Annotated[
        int,
        Meta(ge=1, le=10_000, description="Pictures that wait to be written; one more is left out, and recorded so"),
    ] = 32


class WebSection(_Table, frozen=True, kw_only=True):
    """`[web]`: the station's page and its REST interface. Left out, there is none."""

    host: Annotated[
        str, Meta(min_length=1, description="The address that is listened on; another than loopback needs TLS or plain")
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="The port; 0 takes a free one")] = 8700
    certificate: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="For TLS: the certificate chain, a PEM file; relative to station.toml"),
    ] = None
    key: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="For TLS: the certificate's key, a PEM file without a password; relative to station.toml"),
    ] = None
    names: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(description="The host names that browsers ask for; left out, those of loopback, or any elsewhere"),
    ] = []
    proxies: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(description="Addresses of reverse proxies whose X-Forwarded headers are believed"),
    ] = []
    plain: Annotated[
        bool, Meta(description="Whether HTTP without TLS is meant where others can listen, as behind a proxy")
    ] = False
    idle_minutes: Annotated[int, Meta(ge=1, le=44_640, description="A session that is not used for so long ends")] = 480
    session_hours: Annotated[int, Meta(ge=1, le=744, description="A session ends after so long, used or not")] = 24


class ProjectionSection(_Table, frozen=True, kw_only=True):
    """`[projection]`: the database that history and statistics are asked from. It is computed from the journals."""

    database: Annotated[
        str,
        Meta(
            pattern=r"^(sqlite|postgres(ql)?://.+)$",
            description="`sqlite`, a file in the station's folder, or postgresql://USER@HOST/NAME, a database of this "
            "station alone. A password stands in libpq's own file or variable",
        ),
    ] = "sqlite"


class HeadsSection(_Table, frozen=True, kw_only=True):
    """`[heads]`: the journals' last records, signed and noted elsewhere. Left out, they are not."""

    key: Annotated[
        str,
        Meta(min_length=1, description="The secret key, as `procvision keys new` makes it; relative to station.toml"),
    ]
    file: Annotated[
        str, Meta(min_length=1, description="Where heads are added: on another machine, or it shows little")
    ]
    every_minutes: Annotated[float, Meta(gt=0, le=10_080, description="Between two heads of a line")] = 60.0


class DeploymentsSection(_Table, frozen=True, kw_only=True):
    """`[deployments]`: a folder of installed versions. Left out, algorithms are those of the station's environment."""

    root: Annotated[
        str,
        Meta(
            min_length=1,
            description="Where `procvision install` puts versions; relative to station.toml. All recipes' algorithms "
            "come from it: what is active for a recipe's product runs",
        ),
    ] = "data/deployments"
    keys: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="The trusted keys that the page's activations and take-backs use; relative to station.toml. "
            "Left out, it is the file of this user"
        ),
    ] = None
    golden: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="Golden pictures for the page's activations: a version of NAME has to judge those of the "
            "folder GOLDEN/NAME, where it is there; relative to station.toml"
        ),
    ] = None
    bundles: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="A folder of bundles, *.zip, of which an administrator installs on the page; relative to "
            "station.toml. Left out, they are uploaded"
        ),
    ] = None
    max_bundle_mb: Annotated[int, Meta(ge=1, le=4096, description="The largest bundle that is uploaded")] = 1024
    unsigned: Annotated[
        bool, Meta(description="Whether the page installs also bundles that nobody has signed; it is recorded")
    ] = False


class Kinded(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger, a camera or an output: its `kind`, and the options of that kind."""

    kind: str
    options: Any


class AlgorithmSection(_Table, frozen=True, kw_only=True):
    """`[lines.NAME.algorithms.ALGORITHM]`: how far an algorithm is shut in on this line, and what it gets."""

    isolation: Annotated[
        Literal["off", "basic", "strict"] | None,
        Meta(
            description="`off`, `basic`: no other processes, or `strict`: no network and no files, either. Left out, "
            "it is `strict` where something is granted or readable, and `basic` elsewhere"
        ),
    ] = None
    grants: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(description="Needs of its manifest that it gets under `strict`, such as network:10.0.0.5:502"),
    ] = []
    readable: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(description="Files and folders that it reads under `strict`, such as a model; relative to station.toml"),
    ] = []


class LineSection(_Table, frozen=True, kw_only=True):
    """`[lines.NAME]`: one row of inspections, with hosts and a journal of its own."""

    recipe: Annotated[str, Meta(pattern=_NAME, description="The recipe's name: recipes/NAME.toml")]
    deadline_ms: Annotated[
        int, Meta(ge=1, le=MAX_DEADLINE_MS, description="From trigger to verdict; what is late is ERROR. Milliseconds")
    ]
    trigger: Annotated[dict[str, Any], Meta(description="What says that a product has come: a table with its kind")]
    cameras: Annotated[
        dict[Name, dict[str, Any]],
        Meta(min_length=1, description="Where pictures come from: a table with its kind each"),
    ]
    outputs: Annotated[
        list[dict[str, Any]], Meta(description="Who is told the verdict: a table with its kind each")
    ] = []
    grab_within_ms: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="A camera that is still busy after so many milliseconds is not asked any more: the product is "
            "ERROR, since another one may stand before it. Left out, it is the deadline"
        ),
    ] = None
    max_products: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="Products without a verdict at a time; one more is ERROR at once. At 10 a second, 8 bridge "
            "0.8 s in which the machine, a camera or an algorithm stands still",
        ),
    ] = DEFAULT_MAX_PRODUCTS
    algorithms: Annotated[
        dict[Name, AlgorithmSection],
        Meta(description="How far algorithms are shut in, and what they get, by their name"),
    ] = {}


class StationFile(_Table, frozen=True, kw_only=True):
    """`station.toml`."""

    station: Annotated[StationSection, Meta(description="The station as a whole")]
    pictures: Annotated[PicturesSection, Meta(description="Which pictures are kept")]
    lines: Annotated[dict[Name, LineSection], Meta(min_length=1, description="The lines, by name")]
    web: Annotated[WebSection | None, Meta(description="The page and the REST interface")] = None
    deployments: Annotated[DeploymentsSection | None, Meta(description="Where installed versions lie")] = None
    heads: Annotated[HeadsSection | None, Meta(description="Signed heads")] = None
    projection: Annotated[ProjectionSection, Meta(description="The database of history and statistics")] = (
        ProjectionSection()
    )


class RecipeStep(_Table, frozen=True, kw_only=True):
    """`[[steps]]`: one picture and who judges it."""

    camera: Annotated[str, Meta(pattern=_NAME, description="A camera of the line")]
    algorithm: Annotated[str, Meta(min_length=1, description="An installed algorithm: NAME or NAME==VERSION")]
    step: Annotated[int, Meta(ge=1, description="The step of the algorithm's manifest, from 1 on")] = 1
    reference: Annotated[
        str | None, Meta(description="The picture that pre learns from: a file beside station.toml, or below it")
    ] = None
    parameters: Annotated[dict[str, Any], Meta(description="The step's parameters, as the manifest declares them")] = {}


class RecipeFile(_Table, frozen=True, kw_only=True):
    """`recipes/NAME.toml`."""

    product: Annotated[str, Meta(min_length=1, max_length=256, description="The product's id, as algorithms know it")]
    steps: Annotated[list[RecipeStep], Meta(min_length=1, description="The steps, in their order")]
