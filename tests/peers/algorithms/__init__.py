"""Vendors' algorithms that misbehave, installed as any vendor's are; `peer_plugins.install` makes them discoverable."""
