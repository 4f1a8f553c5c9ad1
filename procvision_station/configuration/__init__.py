"""What a station's folder says: `station.toml` and `recipes/*.toml`, checked as a whole before anything starts."""
