"""A bundle's student at work: opens one file, predicts images. Judges nothing."""
