"""One host spoken to: the calls that wait, who reads, who writes."""
