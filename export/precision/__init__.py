"""FP16 and INT8 files made from an ONNX file. No training."""
