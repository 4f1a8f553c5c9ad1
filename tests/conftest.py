"""What holds for every test of the suite."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A machine that does other things, too, is slow at times: that is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
