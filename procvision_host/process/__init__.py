"""The host as a process: its descriptors, its output, its end."""
