"""Engines: who maps shards of work to results, on this machine or on others. Each is a thin adapter."""
