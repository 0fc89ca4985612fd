"""A deployed student over time: changes, by a sequential test, and images worth labelling."""
