"""Rounds of labels: images brought from devices, and what each round gained. Trains nothing."""
