"""Data sets with annotated boxes: whole images, or each box as an image."""
