"""What runs a file: ONNX Runtime, TensorRT, ncnn. One file a backend, all behind one protocol."""
