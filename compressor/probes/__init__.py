"""Classifiers on frozen embeddings: fitted, chosen, calibrated. No networks, no run folder."""
