"""ncnn, which runs networks of its own format on a CPU. Reads back what it computes in."""
