"""The files that a person labels in: page, CSV, tasks. Chooses nothing."""
