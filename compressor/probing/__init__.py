"""What answers a class from an embedding, chosen and calibrated with the labels there are."""
