"""Teacher and student networks: built, loaded, run. No training."""
