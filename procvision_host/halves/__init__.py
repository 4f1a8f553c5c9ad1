"""The two halves of a host and what they say to each other: hooks, stores and secrets here, the algorithm there."""
