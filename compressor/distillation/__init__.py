"""How a student learns from a teacher: features, losses, the training loop. No run folder."""
