"""A step names the package that its verdict comes from. What was read before is read again: it has them, too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"
branch_labels = None
depends_on = None

_FILLED = (
    "lines", "products", "steps", "defects", "labels", "measurements", "pictures", "events", "recipe_versions", "gaps",
    "verdict_rollups", "label_rollups", "measurement_rollups",
)  # fmt: skip


def upgrade() -> None:
    """Go from the version before to this one."""
    op.add_column("steps", sa.Column("distribution", sa.String(128)))
    op.add_column("steps", sa.Column("package", sa.String(64)))
    # Without its row in `lines` a journal is read from its first record on.
    for name in _FILLED:
        op.execute(f"DELETE FROM {name}")


def downgrade() -> None:
    """Go back: a projection is made anew instead."""
    raise NotImplementedError
