"""The steps that make the files for the device: ONNX, its precisions, pixel input, engines."""
