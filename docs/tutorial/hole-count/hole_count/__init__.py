"""Counts and measures the holes of a plate."""
