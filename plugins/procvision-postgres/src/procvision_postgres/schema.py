"""The tables, and how those of an older release become ours.

`procvision_sessions_layout` has one row with the layout's number. A step leads from each layout to the next; steps that
were released are never changed. Hosts that start at once take turns.
"""

from __future__ import annotations

from typing import Any

from procvision_sdk.session import SessionStoreError

STEPS = (
    """
    CREATE TABLE procvision_sessions (
        id bytea PRIMARY KEY, stamp bigint NOT NULL, saved_at timestamptz NOT NULL, state bytea NOT NULL
    )
    """,
    # The state changes with every save: room for it in the same page keeps the index as it is.
    "ALTER TABLE procvision_sessions SET (fillfactor = 50)",
)
"""Step N leads to layout N + 1. Ids and states are bytes: text in PostgreSQL can't hold a NUL."""
LAYOUT = len(STEPS)
_LOCK = 0x50565353
"""The advisory lock under which the layout is looked at and changed."""


def bring_up_to_date(connection: Any) -> None:
    """Make the tables, or take the steps that are missing. Raises SessionStoreError for a newer layout."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        found = _found(connection)
        if found > LAYOUT:
            raise SessionStoreError(
                f"its tables are of a newer release (layout {found}, this one has {LAYOUT}); "
                "hint: use that release, or another database"
            )
        if found == LAYOUT:
            return
        if not found:
            connection.execute("CREATE TABLE procvision_sessions_layout (layout integer NOT NULL)")
        for step in STEPS[found:]:
            connection.execute(step)
        connection.execute("DELETE FROM procvision_sessions_layout")
        connection.execute("INSERT INTO procvision_sessions_layout VALUES (%s)", (LAYOUT,))


def _found(connection: Any) -> int:
    # Looked at first: a role that may not create tables may use those that are there.
    if connection.execute("SELECT to_regclass('procvision_sessions_layout')").fetchone()[0] is None:
        return 0
    layout: int = connection.execute("SELECT max(layout) FROM procvision_sessions_layout").fetchone()[0]
    return layout
