"""Observers of a run that need no terminal. They read events, and no other room."""
