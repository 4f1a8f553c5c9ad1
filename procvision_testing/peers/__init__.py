"""Peers for tests: a host that misbehaves as it is told, an algorithm for the tests of hook plugins."""
