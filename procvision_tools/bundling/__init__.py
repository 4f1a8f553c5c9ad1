"""Offline bundles: an algorithm's wheel and everything that it needs on one target, in a zip with hashes."""
