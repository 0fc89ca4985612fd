"""Files of LiteRT, made of a student by litert-torch and compared with it. No training."""
