"""One file per distillation method. A method knows losses and heads, and no files."""
