"""The connection to one host: its calls, who reads, who writes, and its end."""
