"""Decides when a call without a result is made again. Pure: the time that has passed is an argument."""

from __future__ import annotations

import attrs

from procvision_runner.errors import CallError, CallFailedError, HostDiedError
from procvision_sdk.errors import ErrorCode


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """Only what is retryable, and never a verdict: OK, NG and a status of ERROR are answers and come through."""

    retries: int = attrs.field(default=2, validator=attrs.validators.ge(0))
    """The project's default: three attempts in all."""
    delay_s: float = attrs.field(default=0.05, validator=attrs.validators.ge(0))
    """Before a call is made again in the same host: a busy device gets a moment. A new host needs no delay."""
    within_s: float = attrs.field(default=120.0, validator=attrs.validators.gt(0))
    """No attempt begins later than this after the call came: four times the time of an execute."""
    after_timeout: bool = False
    """A call whose time is over is not made again: the product has passed on, and the next would wait as long."""

    def delay(self, error: CallError, attempts: int, elapsed_s: float) -> float | None:
        """Return the seconds until the next attempt; None to raise `error`, which ended the last of `attempts`."""
        if not error.retryable or attempts > self.retries or elapsed_s >= self.within_s:
            return None
        # A host that was ended for another call's sake has error_code 9999: this one's time was not over.
        if error.error_code == ErrorCode.TIMEOUT and not self.after_timeout:
            return None
        if isinstance(error, HostDiedError) or needs_new_host(error):
            return 0.0
        return self.delay_s


def needs_new_host(error: CallError) -> bool:
    """Tell whether the host that answered with this error can take no call again."""
    return host_is_leaving(error) or (
        isinstance(error, CallFailedError) and error.error_code == ErrorCode.GPU_OUT_OF_MEMORY
    )


def host_is_leaving(error: CallError) -> bool:
    """Tell whether the host refused the call, or broke it off, because it leaves by itself."""
    return isinstance(error, CallFailedError) and error.kind == "draining"
