"""Steady calls under the sanitizers, with inputs by the million: `python -m tests.fuzz`, or `nox -s fuzz`."""
