"""How fast a file is on this machine, and what this machine is. Judges nothing."""
