"""The user's images: found, decoded, split, augmented, served in batches. No networks."""
