"""Pictures in shared memory: how a slot is laid out, and how its bytes become a read-only RGB array.

`layout` and `meta` are free of NumPy, so that a host can check a call before it needs one.
"""
