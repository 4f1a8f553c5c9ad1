"""What a station's line costs, and whether its page stays quick: `python -m benchmarks.station WHAT`."""
