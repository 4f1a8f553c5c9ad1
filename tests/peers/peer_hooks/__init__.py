"""Hook plugins for tests: one that writes down all it is told, and one for each way to be broken."""
