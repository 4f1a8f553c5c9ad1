"""What was read earlier in the same inspection, kept in the session's state.

By step: a step that is executed again, for a better picture, replaces what it had read and doesn't find itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from procvision_codes.reading import MAX_CODES, Code
from procvision_sdk import Session

_KEY = "codes_read"


def read_in_other_steps(session: Session, step_index: int) -> dict[str, int]:
    """Digests of the contents read in other steps, with the step that read them."""
    steps: dict[str, list[str]] = session.get(_KEY, {})
    return {digest: int(step) for step, digests in steps.items() if int(step) != step_index for digest in digests}


def remember(session: Session, step_index: int, codes: Sequence[Code]) -> None:
    """Keep what this step read, in place of what it had read before."""
    steps: dict[str, list[str]] = dict(session.get(_KEY, {}))
    steps[str(step_index)] = [code.digest for code in codes[:MAX_CODES]]
    session.set(_KEY, steps)


def forget(session: Session) -> None:
    """Forgets all steps."""
    session.delete(_KEY)
