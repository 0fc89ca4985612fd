"""What runs a file: ONNX Runtime, TensorRT. One file a backend, all behind one protocol."""
