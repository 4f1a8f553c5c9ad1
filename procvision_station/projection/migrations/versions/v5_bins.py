"""Products that a history's filters treat alike are in one bin: any filters together are answered by an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from procvision_station.projection.rows import BINNED_BY, bin_of

revision = "5"
down_revision = "4"
branch_labels = None
depends_on = None

_REPLACED = ("verdict", "recipe", "recipe_version", "versions", "product")


def upgrade() -> None:
    """Go from the version before to this one."""
    op.create_table(
        "bins",
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("bin", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("recipe", sa.String(length=64), nullable=False),
        sa.Column("recipe_version", sa.String(length=64), nullable=False),
        sa.Column("versions", sa.String(length=256), nullable=False),
        sa.Column("product", sa.String(length=256), nullable=False),
        sa.Column("told", sa.String(length=8), nullable=False),
        sa.Column("overruled", sa.String(length=8), nullable=True),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("line", "bin"),
    )
    for table in ("products", "labels"):
        op.add_column(table, sa.Column("bin", sa.BigInteger(), nullable=False, server_default="0"))
    for name in _REPLACED:
        op.drop_index(f"products_by_{name}", "products")
    op.drop_index("products_overruled", "products")
    _fill()
    op.create_index("products_by_bin", "products", ["bin", "triggered_ms", "sequence"])
    op.create_index("labels_by_bin", "labels", ["label", "bin", "triggered_ms", "sequence"])


def _fill() -> None:
    """Let what is there come into its bins: the journals need not be read anew."""
    connection, names = op.get_bind(), ("line", *BINNED_BY)
    bins = sa.table("bins", *(sa.column(name) for name in (*names, "bin", "first_ms", "last_ms")))
    products = sa.table("products", *(sa.column(name) for name in (*names, "bin", "sequence", "triggered_ms")))
    labels = sa.table("labels", *(sa.column(name) for name in ("line", "sequence", "bin")))
    groups = sa.select(
        *(products.c[name] for name in names),
        sa.func.min(products.c.triggered_ms).label("first_ms"),
        sa.func.max(products.c.triggered_ms).label("last_ms"),
    ).group_by(*(products.c[name] for name in names))
    found = [dict(row) for row in connection.execute(groups).mappings()]
    if not found:
        return
    connection.execute(sa.insert(bins), [{**row, "bin": bin_of(row)} for row in found])
    op.create_index("bins_by_values", "bins", [*names])
    of_values = [bins.c[name].is_not_distinct_from(products.c[name]) for name in names]
    connection.execute(sa.update(products).values(bin=sa.select(bins.c.bin).where(*of_values).scalar_subquery()))
    of_product = (products.c.line == labels.c.line, products.c.sequence == labels.c.sequence)
    connection.execute(sa.update(labels).values(bin=sa.select(products.c.bin).where(*of_product).scalar_subquery()))
    op.drop_index("bins_by_values", "bins")


def downgrade() -> None:
    """Go back: a projection is made anew instead."""
    raise NotImplementedError
