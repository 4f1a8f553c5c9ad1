"""What a station's ledger is held to when its processes are killed at any moment."""
