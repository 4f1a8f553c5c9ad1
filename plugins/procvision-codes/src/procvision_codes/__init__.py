"""`code-reader`: reads bar codes and matrix codes, and verifies what they say.

`reading.read_codes` finds and reads, `gs1` and `iso15434` parse what was read, `verification.problems` judges; each is
usable as a library. `algorithm.CodeReader` puts them behind a ProcVision host.
"""
