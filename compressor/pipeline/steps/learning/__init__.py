"""What a student comes from: images, the teacher on views of them, the start, the training."""
