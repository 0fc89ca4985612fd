"""Networks of ncnn, made of a student by pnnx and compared with it. No training."""
