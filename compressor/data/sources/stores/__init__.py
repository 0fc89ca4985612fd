"""Stores that fsspec reaches: asked again where that helps, and no secret in a message."""
