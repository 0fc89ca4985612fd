"""A bundle checked on another machine, over ssh. Knows bundles, not runs."""
