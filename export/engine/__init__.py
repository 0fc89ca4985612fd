"""TensorRT engines built from ONNX files. Runs on the device, without a training package."""
