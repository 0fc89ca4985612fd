"""One file per distillation method. A method knows losses and heads, and no files.

A new method is a subclass of `Method` in a file of its own, and one line in
`compressor.recipe.choices.METHODS`.
"""
