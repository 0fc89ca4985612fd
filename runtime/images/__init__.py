"""An image file becomes the array that a student sees. Numpy and Pillow only."""
