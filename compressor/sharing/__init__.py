"""A finished run given to a model hub or a registry, with its card. Its folder stays as it is."""
