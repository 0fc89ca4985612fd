"""LiteRT, which runs `.tflite` files on a CPU. Reads back what their operators compute in."""
