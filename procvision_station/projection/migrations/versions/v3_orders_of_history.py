"""Each filter of a history has an index in the history's order: no page sorts what it shows a part of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"
branch_labels = None
depends_on = None

_FILTERS = {"verdict": "told", "recipe": "recipe", "serial": "serial"}
_NEW_FILTERS = {"recipe_version": "recipe_version", "versions": "versions", "product": "product"}
_ORDER = ["triggered_ms", "line", "sequence"]


def upgrade() -> None:
    """Go from the version before to this one."""
    op.drop_index("products_by_overrule", "products")
    overruled = sa.text("overruled IS NOT NULL")
    op.create_index("products_overruled", "products", _ORDER, sqlite_where=overruled, postgresql_where=overruled)
    op.drop_index("products_by_key", "products")
    op.create_index("products_by_key", "products", ["key", "line"], unique=True)
    for name in _FILTERS:
        op.drop_index(f"products_by_{name}", "products")
    for name, column in {**_FILTERS, **_NEW_FILTERS}.items():
        op.create_index(f"products_by_{name}", "products", [column, *_ORDER])
    op.create_index("events_by_line", "events", ["line", "at_ms", "sequence"])
    op.drop_index("events_by_kind", "events")
    op.create_index("events_by_kind", "events", ["event", "at_ms", "line", "sequence"])
    op.drop_index("events_by_product", "events")
    op.create_index("events_by_product", "events", ["key", "line", "sequence"])


def downgrade() -> None:
    """Go back: a projection is made anew instead."""
    raise NotImplementedError
