"""Places that a recipe names: sources of images, folders of weights. Checked, not opened."""
