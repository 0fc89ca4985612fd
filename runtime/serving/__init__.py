"""A bundle's student behind HTTP: images in, JSON out, in batches. Judges nothing.

`starlette` and `uvicorn` are an extra (`serve`); `python -m runtime serve` starts it.
"""
