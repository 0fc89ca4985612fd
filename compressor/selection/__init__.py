"""Which images to label first: strategies on embeddings. No networks, no run folder."""
