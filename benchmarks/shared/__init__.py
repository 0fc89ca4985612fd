"""What several benchmarks share: runs of recipes, and what is seen of their students."""
