"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go from the version before to this one."""
    op.create_table(
        "defects",
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("label", sa.String(length=128), nullable=False),
        sa.Column("x", sa.Float(), nullable=False),
        sa.Column("y", sa.Float(), nullable=False),
        sa.Column("width", sa.Float(), nullable=False),
        sa.Column("height", sa.Float(), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("line", "sequence", "step", "place"),
    )
    op.create_table(
        "events",
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("user", sa.String(length=64), nullable=True),
        sa.Column("key", sa.String(length=128), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("line", "sequence"),
    )
    op.create_index("events_by_kind", "events", ["event", "line", "sequence"], unique=False)
    op.create_index("events_by_product", "events", ["line", "key", "sequence"], unique=False)
    op.create_index("events_by_time", "events", ["at_ms", "line", "sequence"], unique=False)
    op.create_index("events_by_user", "events", ["user", "at_ms", "line", "sequence"], unique=False)

    op.create_table(
        "gaps",
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("line", "sequence"),
    )
    op.create_table(
        "label_rollups",
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("bucket_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("recipe", sa.String(length=64), nullable=False),
        sa.Column("recipe_version", sa.String(length=64), nullable=False),
        sa.Column("versions", sa.String(length=256), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=False),
        sa.Column("products", sa.Integer(), nullable=False),
        sa.Column("defects", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("line", "bucket_ms", "recipe", "recipe_version", "versions", "label"),
    )
    op.create_table(
        "labels",
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=False),
        sa.Column("triggered_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("defects", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("line", "label", "triggered_ms", "sequence"),
    )
    op.create_index("labels_by_product", "labels", ["line", "sequence"], unique=False)
    op.create_index("labels_of_all_lines", "labels", ["label", "triggered_ms", "line", "sequence"], unique=False)

    op.create_table(
        "lines",
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.String(length=64), nullable=False),
        sa.Column("segment", sa.String(length=64), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("run", sa.String(length=64), nullable=True),
        sa.Column("running", sa.Boolean(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=True),
        sa.Column("station", sa.String(length=64), nullable=True),
        sa.Column("recipe", sa.String(length=64), nullable=True),
        sa.Column("recipe_version", sa.String(length=64), nullable=True),
        sa.Column("hosts", sa.Text(), nullable=True),
        sa.Column("last_product", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("line"),
    )
    op.create_table(
        "measurement_rollups",
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("bucket_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("recipe", sa.String(length=64), nullable=False),
        sa.Column("recipe_version", sa.String(length=64), nullable=False),
        sa.Column("versions", sa.String(length=256), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("total", sa.Float(), nullable=False),
        sa.Column("lowest", sa.Float(), nullable=False),
        sa.Column("highest", sa.Float(), nullable=False),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("line", "bucket_ms", "recipe", "recipe_version", "versions", "step", "name"),
    )
    op.create_table(
        "measurements",
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("unit", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("line", "sequence", "step", "name"),
    )
    op.create_table(
        "pictures",
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("file", sa.String(length=128), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("line", "key", "step"),
    )
    op.create_index("pictures_by_file", "pictures", ["file"], unique=False)

    op.create_table(
        "products",
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("product", sa.String(length=256), nullable=False),
        sa.Column("serial", sa.String(length=256), nullable=True),
        sa.Column("recipe", sa.String(length=64), nullable=False),
        sa.Column("recipe_version", sa.String(length=64), nullable=False),
        sa.Column("versions", sa.String(length=256), nullable=False),
        sa.Column("triggered_ms", sa.BigInteger(), nullable=False),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
        sa.Column("elapsed_ms", sa.Float(), nullable=False),
        sa.Column("found", sa.String(length=8), nullable=False),
        sa.Column("told", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=True),
        sa.Column("overruled", sa.String(length=8), nullable=True),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        sa.Column("notes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("line", "sequence"),
    )
    op.create_index("products_by_key", "products", ["line", "key"], unique=True)
    op.create_index("products_by_overrule", "products", ["overruled", "line", "triggered_ms", "sequence"], unique=False)
    op.create_index("products_by_recipe", "products", ["recipe", "line", "triggered_ms", "sequence"], unique=False)
    op.create_index("products_by_serial", "products", ["serial", "line", "triggered_ms", "sequence"], unique=False)
    op.create_index("products_by_time", "products", ["line", "triggered_ms", "sequence"], unique=False)
    op.create_index("products_by_verdict", "products", ["told", "line", "triggered_ms", "sequence"], unique=False)
    op.create_index("products_of_all_lines", "products", ["triggered_ms", "line", "sequence"], unique=False)

    op.create_table(
        "recipe_versions",
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("recipe", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("user", sa.String(length=64), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("product", sa.String(length=256), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("steps", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("line", "sequence"),
    )
    op.create_index("recipe_versions_by_recipe", "recipe_versions", ["recipe", "version"], unique=False)

    op.create_table(
        "steps",
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("camera", sa.String(length=64), nullable=False),
        sa.Column("algorithm", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("manifest_step", sa.Integer(), nullable=True),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("verdict", sa.String(length=8), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("ng_reason", sa.Text(), nullable=False),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("answered_ms", sa.Float(), nullable=True),
        sa.Column("picture", sa.String(length=64), nullable=False),
        sa.Column("debug", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("line", "sequence", "step"),
    )
    op.create_table(
        "verdict_rollups",
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("bucket_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("recipe", sa.String(length=64), nullable=False),
        sa.Column("recipe_version", sa.String(length=64), nullable=False),
        sa.Column("versions", sa.String(length=256), nullable=False),
        sa.Column("told", sa.String(length=8), nullable=False),
        sa.Column("products", sa.Integer(), nullable=False),
        sa.Column("elapsed_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("line", "bucket_ms", "recipe", "recipe_version", "versions", "told"),
    )


def downgrade() -> None:
    """Go back: a projection is made anew instead."""
    raise NotImplementedError
