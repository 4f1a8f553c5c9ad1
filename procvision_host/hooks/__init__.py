"""Hook plugins in a host: chosen, checked, kept apart from each other, told of calls."""
