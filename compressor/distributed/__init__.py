"""The processes of one run: how they share work and are started. No networks, no folder."""
