"""What a device kept of its images: read with suspicion, copied to the user's data. No networks."""
