"""Algorithms of `procvision_algorithm_sdk`, the field's earlier SDK, in a ProcVision host or behind a gateway."""
