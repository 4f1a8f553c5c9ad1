"""The manifest: what a plugin declares of its algorithm, read and checked without importing any of its code."""
