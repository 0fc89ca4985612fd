"""How long a training takes: rates measured on a few images, and the training that fits a time."""
