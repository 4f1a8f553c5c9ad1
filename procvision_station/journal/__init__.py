"""The ledger's truth: an append-only journal a line, which loses nothing it acknowledged, and shows changes."""
