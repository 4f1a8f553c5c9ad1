"""Is an algorithm fit to be installed: its package, its manifest, its code, its answers."""
