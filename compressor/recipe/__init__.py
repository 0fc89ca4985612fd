"""What a user decides: recipe and target files, read and checked. No images, no networks."""
