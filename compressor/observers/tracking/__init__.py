"""Experiment trackers, a file each, behind one protocol. They read events and a run's folder."""
