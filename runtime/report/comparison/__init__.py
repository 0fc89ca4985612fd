"""Reports side by side, as a page: figures, gates, losses, images answered differently."""
