"""The oldest pictures are found by an index."""

from __future__ import annotations

from alembic import op

revision = "2"
down_revision = "1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go from the version before to this one."""
    op.create_index("pictures_by_age", "pictures", ["state", "at_ms"], unique=False)


def downgrade() -> None:
    """Go back: a projection is made anew instead."""
    raise NotImplementedError
