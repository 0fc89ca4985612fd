"""OpenVINO, which runs the same ONNX files as ONNX Runtime does. Reads back what it computes in."""
