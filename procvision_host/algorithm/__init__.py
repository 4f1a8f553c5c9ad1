"""The vendor's class in a host: found, loaded, called, and what it answers checked."""
