"""The closed-form start: a pretrained student's embedding layer, solved before any training."""
