"""A host's checks without a process, for tests of algorithms."""
