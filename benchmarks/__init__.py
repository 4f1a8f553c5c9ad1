"""Ours beside the physical floor and beside peers, in one sitting, as ratios: `python -m benchmarks`."""
