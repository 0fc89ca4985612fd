"""The steps of a run, each from files to files. No step calls another."""
