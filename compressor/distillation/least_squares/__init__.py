"""Linear layers that are solved, not trained: sums over images, and ridge regression from them."""
