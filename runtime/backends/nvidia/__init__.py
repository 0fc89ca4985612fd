"""What TensorRT engines need of an NVIDIA GPU: its facts, memory, graphs, manifests. No session."""
