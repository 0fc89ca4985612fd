"""One file per family of labelling strategies. A strategy knows points and distances, no files.

A new strategy is an object with `choose` (see `strategy.Strategy`) in a file of its own, and one
line in `compressor.recipe.choices.STRATEGIES`.
"""
