"""A host's process as its parent sees it: its end and its log."""
