"""What runs a file: ONNX Runtime, TensorRT, ncnn, LiteRT. A file each, behind one protocol."""
