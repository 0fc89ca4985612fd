"""Which images to label first: strategies on the teacher's embeddings, and what goes to people."""
