"""Networks of timm, built for a recipe: its arguments, sizes and weights, within limits."""
