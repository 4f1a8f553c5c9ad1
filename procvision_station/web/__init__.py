"""The page of a station and its REST interface: a process of its own, which a line never waits for."""
