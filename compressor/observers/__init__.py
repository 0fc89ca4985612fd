"""Observers of a run that need no terminal: one a file. They read events, and no other room."""
