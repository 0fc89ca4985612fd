"""Make the files: ONNX and the bundle that travels to the device."""
